import { Agent, errors, request } from 'undici'

import { BufferPool } from '../mover/buffer-pool.ts'
import type { Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import { parseContentRange } from '../oci/range.ts'
import { type Repository, type TagReference } from '../oci/reference.ts'
import { requestPath } from '../oci/request.ts'
import { parseDigest } from '../oci/digest.ts'
import type { Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import type { ContentSource, KnownTag } from '../store/content-store.ts'
import { second } from '../time/units.ts'
import { PeerTimeoutError } from './blobs/peer-connection.ts'
import { PeerConnections } from './blobs/peer-connections.ts'
import {
  ABSENT_HEADER,
  ACCESS_HEADER,
  AS_OF_HEADER,
  BUSY_HEADER,
  MAX_PATH,
  PATH_HEADER,
  VERIFIED_HEADER,
} from './headers.ts'
import { proveRequest } from './request-proof.ts'

/** A blob as a peer sends it. `size` is the whole blob's, in bytes. */
export interface PeerBlob {
  readonly size: number
  readonly body: AsyncIterable<Uint8Array>
  /** The ids of the nodes that it comes through, the root first and the peer last; empty if the peer holds it whole. */
  readonly path: readonly string[]
  cancel(): void
}

/** A manifest as a peer sends it, unverified, and why the peer shows it. */
export interface PeerManifest {
  readonly bytes: Uint8Array
  readonly access: ContentSource['access']
}

/** A peer did not do what was asked. `busy`: it is well, and has enough to do. */
export class PeerError extends Error {
  override readonly name = 'PeerError'
  readonly reason: 'unreachable' | 'busy' | 'refused' | 'invalid'

  constructor(reason: PeerError['reason'], message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.reason = reason
  }
}

interface PeerResponse {
  readonly status: number
  header(name: string): string | undefined
  readonly body: AsyncIterable<Uint8Array> & {
    destroy(): unknown
    dump(options: { limit: number; signal: AbortSignal }): Promise<void>
  }
}

interface Asked {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly target: string
  readonly headers: Record<string, string>
  readonly headerTimeout?: number | undefined
  readonly body?: Uint8Array
  /** What comes may be large. */
  readonly isBlob?: boolean
}

/** Of a question about content. */
export interface AskOptions {
  readonly signal: AbortSignal
  /** The client it is for may see it although it is not public: nothing without a cluster secret that proves who says so. */
  readonly verified?: boolean
}

const CONNECT_TIMEOUT = 1 * second
const HEADER_TIMEOUT = 5 * second
/** A peer that let a question time out is not asked again for so long: each one would cost its client the whole timeout. */
const SILENCE_MEMORY = 5 * second
/** Of an answer that is not looked at: what is longer, or takes longer, costs a connection instead. */
const MAX_DISCARDED = 16 * 1024
const MAX_DISCARD_TIME = 1 * second

export interface PeerClientOptions {
  /** undefined in a cluster without a secret. */
  readonly key: Uint8Array | undefined
  /** The longest silence inside a body, in milliseconds. */
  readonly idleTimeout: number
  /** What blobs are read into; a client that has written a chunk may give it back. */
  readonly buffers?: BufferPool
}

/** Asks other nodes' peer listeners, on kept connections, with proof of the cluster secret. Errors are PeerError. */
export class PeerClient {
  readonly #key: Uint8Array | undefined
  readonly #agent: Agent
  readonly #blobs: PeerConnections
  /** By address. */
  readonly #silent = new PeerHealth(SILENCE_MEMORY)

  constructor({ key, idleTimeout, buffers = new BufferPool() }: PeerClientOptions) {
    this.#key = key
    this.#agent = new Agent({
      connect: { timeout: CONNECT_TIMEOUT },
      headersTimeout: HEADER_TIMEOUT,
      bodyTimeout: idleTimeout,
      keepAliveTimeout: 30 * second,
    })
    this.#blobs = new PeerConnections({ connectTimeout: CONNECT_TIMEOUT, idleTimeout, buffers })
  }

  close(): Promise<void> {
    this.#blobs.close()
    return this.#agent.destroy()
  }

  /** Opens a blob at `start`, up to `end` (exclusive) or its own end; undefined if the peer does not hold it. */
  async getBlob(
    peer: Peer,
    repository: Repository,
    digest: Digest,
    options: AskOptions & { start: number; end?: number | undefined; headerTimeout?: number },
  ): Promise<PeerBlob | undefined> {
    const range = rangeHeader(options.start, options.end)
    const headers: Record<string, string> = range === undefined ? {} : { range }
    const response = await this.#send(
      peer,
      {
        method: 'GET',
        target: requestPath(repository, 'blobs', digest),
        headers,
        headerTimeout: options.headerTimeout,
        isBlob: true,
      },
      options,
    )
    if (response.status === 404) return discard(response)
    const sent = response.status === 206 ? parseContentRange(response.header('content-range')) : undefined
    const size = response.status === 206 ? sent?.size : Number(response.header('content-length') ?? Number.NaN)
    const isAsked =
      response.status === 200
        ? range === undefined
        : sent?.start === options.start && sent.end === Math.min(options.end ?? sent.size, sent.size)
    const path = parsePath(response.header(PATH_HEADER))
    if (size === undefined || !Number.isSafeInteger(size) || !isAsked || path === undefined) {
      response.body.destroy()
      const what = path === undefined ? 'a path that is none' : `${response.status} and no usable size`
      throw new PeerError('invalid', `${peer.address} answered a blob request with ${what}`)
    }
    return { size, body: response.body, path, cancel: () => void response.body.destroy() }
  }

  /** Size of a blob in bytes; undefined if the peer does not have it. */
  async headBlob(peer: Peer, repository: Repository, digest: Digest, options: AskOptions): Promise<number | undefined> {
    const response = await this.#send(
      peer,
      { method: 'HEAD', target: requestPath(repository, 'blobs', digest), headers: {} },
      options,
    )
    discard(response)
    const size = Number(response.header('content-length') ?? Number.NaN)
    return response.status === 200 && Number.isSafeInteger(size) ? size : undefined
  }

  /** Reads a manifest's bytes, unverified; undefined if the peer does not have it. */
  async getManifest(
    peer: Peer,
    repository: Repository,
    digest: Digest,
    options: AskOptions,
  ): Promise<PeerManifest | undefined> {
    const response = await this.#send(
      peer,
      { method: 'GET', target: requestPath(repository, 'manifests', digest), headers: {} },
      options,
    )
    if (response.status === 404) return discard(response)
    const access = response.header(ACCESS_HEADER)
    const bytes = await this.#readAll(peer, response, MAX_MANIFEST_BYTES)
    return { bytes, access: access === 'public' || access === 'imported' ? access : 'unknown' }
  }

  /** What a tag names at the peer; undefined if it does not know it. */
  async resolveTag(peer: Peer, tag: TagReference, options: AskOptions): Promise<KnownTag | undefined> {
    const response = await this.#send(
      peer,
      { method: 'HEAD', target: requestPath(tag, 'manifests', tag.tag), headers: {} },
      options,
    )
    if (response.status === 404) return discard(response)
    discard(response)
    const digest = parseDigest(response.header('docker-content-digest') ?? '')
    const size = Number(response.header('content-length') ?? Number.NaN)
    const mediaType = response.header('content-type')
    const asOf = Date.parse(response.header(AS_OF_HEADER) ?? '')
    if (digest === undefined || mediaType === undefined || !Number.isSafeInteger(size) || Number.isNaN(asOf)) {
      throw new PeerError('invalid', `${peer.address} answered a tag without saying what it names`)
    }
    return { descriptor: { digest, size, mediaType }, asOf }
  }

  /** Sends a message of Nabo's own protocol and reads the answer, at most `limit` bytes of it. */
  async post(
    peer: Peer,
    target: string,
    body: Uint8Array,
    options: { limit: number; signal: AbortSignal },
  ): Promise<Uint8Array> {
    const headers = { 'content-type': 'application/json' }
    const response = await this.#send(peer, { method: 'POST', target, headers, body }, { signal: options.signal })
    return this.#readAll(peer, response, options.limit)
  }

  async #send(peer: Peer, asked: Asked, { signal, verified = false }: AskOptions): Promise<PeerResponse> {
    // An announcement has time, and finds out that the peer is back.
    if (asked.method !== 'POST' && this.#silent.isFailing(peer.address))
      throw new PeerError('unreachable', `${peer.address} did not answer a moment ago`)
    const { method, target, body = new Uint8Array() } = asked
    const proof = this.#key && proveRequest(this.#key, { method, target, body, verified })
    const claim = verified && proof !== undefined ? { [VERIFIED_HEADER]: '1' } : {}
    const headers = proof === undefined ? asked.headers : { ...asked.headers, ...claim, authorization: proof }
    let response: PeerResponse
    try {
      response = await (asked.isBlob === true
        ? this.#askForBlob(peer, { ...asked, headers }, signal)
        : this.#ask(peer, { ...asked, headers }, signal))
    } catch (cause) {
      signal.throwIfAborted()
      if (isTimeout(cause)) this.#silent.failed(peer.address)
      throw new PeerError('unreachable', `${peer.address} cannot be reached`, { cause })
    }
    this.#silent.recovered(peer.address)
    const { status } = response
    const answers = status === 404 ? response.header(ABSENT_HEADER) !== undefined : [200, 206].includes(status)
    if (answers) return response
    discard(response)
    if (response.header(BUSY_HEADER) !== undefined) throw new PeerError('busy', `${peer.address} is busy`)
    throw new PeerError('refused', `${peer.address} answered ${status}`)
  }

  async #ask({ address }: Peer, asked: Asked, signal: AbortSignal): Promise<PeerResponse> {
    const response = await request(`http://${address}${asked.target}`, {
      method: asked.method,
      headers: asked.headers,
      body: asked.body ?? null,
      headersTimeout: asked.headerTimeout ?? HEADER_TIMEOUT,
      signal,
      dispatcher: this.#agent,
    })
    // A body that ends badly after its reader has gone is nobody's error.
    response.body.on('error', () => {})
    const header = (name: string) => headerText(response.headers[name])
    return { status: response.statusCode, header, body: response.body }
  }

  async #askForBlob({ address }: Peer, asked: Asked, signal: AbortSignal): Promise<PeerResponse> {
    const { target, headers, headerTimeout = HEADER_TIMEOUT } = asked
    const {
      status,
      headers: answered,
      body,
    } = await this.#blobs.get({ address, target, headers, headerTimeout }, { signal })
    return { status, header: (name) => answered.get(name), body }
  }

  async #readAll(peer: Peer, response: PeerResponse, limit: number): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    let length = 0
    try {
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        length += chunk.length
        if (length > limit) throw new PeerError('invalid', `${peer.address} sent more than ${limit} bytes`)
        chunks.push(chunk)
      }
    } catch (cause) {
      if (cause instanceof PeerError) throw cause
      throw new PeerError('unreachable', `${peer.address} broke off`, { cause })
    }
    return Buffer.concat(chunks, length)
  }
}

/** Lets its connection be used again, and waits for nothing: all that is wanted of it is known. */
function discard(response: PeerResponse): undefined {
  const signal = AbortSignal.timeout(MAX_DISCARD_TIME)
  response.body.dump({ limit: MAX_DISCARDED, signal }).catch(() => {})
}

function rangeHeader(start: number, end: number | undefined): string | undefined {
  if (end !== undefined) return `bytes=${start}-${end - 1}`
  return start === 0 ? undefined : `bytes=${start}-`
}

function isTimeout(error: unknown): boolean {
  const { HeadersTimeoutError, ConnectTimeoutError } = errors
  return [HeadersTimeoutError, ConnectTimeoutError, PeerTimeoutError].some((kind) => error instanceof kind)
}

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

/** Ids without a meaning of their own; undefined if they are not, or too many. */
function parsePath(header: string | undefined): readonly string[] | undefined {
  if (header === undefined) return []
  const ids = header.split(',', MAX_PATH + 1).map((id) => id.trim())
  return ids.length <= MAX_PATH && ids.every((id) => /^[\w.:-]{1,128}$/.test(id)) ? ids : undefined
}
