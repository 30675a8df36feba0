import { type NodeCaller, nodeCaller } from '../contracts/node-caller.ts'
import type { NodeContract } from '../contracts/node-contract.ts'
import type { Digest } from '../oci/digest.ts'
import { parseDigest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES, parseManifestType } from '../oci/manifest.ts'
import { parseContentRange } from '../oci/range.ts'
import { type Repository, type TagReference } from '../oci/reference.ts'
import { requestPath } from '../oci/request.ts'
import type { Peer } from '../overlay/overlay.ts'
import type { ContentSource, KnownTag } from '../store/content-store.ts'
import { ACCESS_HEADER, AS_OF_HEADER, MAX_PATH, PATH_HEADER } from './headers.ts'
import {
  type AskOptions,
  PeerError,
  type PeerResponse,
  PeerTransport,
  type PeerTransportOptions,
  discard,
  readAnswer,
  readProvenAnswer,
} from './peer-transport.ts'

/** Why a peer serves content. `open`: the content is public, but perhaps not under the requested repository. */
type PeerAccess = ContentSource['access'] | 'open'

/** A blob as a peer sends it. `size` is the whole blob's, in bytes. */
export interface PeerBlob {
  readonly size: number
  readonly body: AsyncIterable<Uint8Array>
  /** The ids of the nodes that it comes through, the root first and the peer last; empty if the peer holds it whole. */
  readonly path: readonly string[]
  /** Why the peer serves the blob. */
  readonly access: PeerAccess
  cancel(): void
}

/** A manifest as a peer sends it, unverified, and why the peer serves it. */
export interface PeerManifest {
  readonly bytes: Uint8Array
  /** As the peer tells it; undefined if that is no media type of a manifest. */
  readonly mediaType: string | undefined
  readonly access: PeerAccess
}

/** What a tag names at a peer, and why the peer tells it: `unknown` if it does not say. */
export interface PeerTag extends KnownTag {
  readonly access: PeerAccess
}

/** Client of the peer listeners of other nodes: content, and the messages of the node protocol. Errors are PeerError. */
export class PeerClient implements NodeCaller {
  readonly #transport: PeerTransport
  readonly #messages: NodeCaller
  readonly #isProven: boolean

  constructor(options: PeerTransportOptions) {
    this.#isProven = options.signer !== undefined
    this.#transport = new PeerTransport(options)
    this.#messages = nodeCaller((...sent) => this.#post(...sent))
  }

  close(): Promise<void> {
    return this.#transport.close()
  }

  /** Why the last request to a peer failed, in a sentence; undefined if it was answered, or if there was none. */
  failureOf(id: string): string | undefined {
    return this.#transport.contacts.failureOf(id)
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
    const response = await this.#transport.send(
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
    return { size, body: response.body, path, access: accessOf(response), cancel: () => void response.body.destroy() }
  }

  /** Size of a blob in bytes; undefined if the peer does not have it. */
  async headBlob(peer: Peer, repository: Repository, digest: Digest, options: AskOptions): Promise<number | undefined> {
    const response = await this.#transport.send(
      peer,
      { method: 'HEAD', target: requestPath(repository, 'blobs', digest), headers: {} },
      options,
    )
    discard(response)
    const size = Number(response.header('content-length') ?? Number.NaN)
    return response.status === 200 && Number.isSafeInteger(size) ? size : undefined
  }

  /** Reads the bytes of a manifest as the peer sent them, whether or not they match the digest; undefined if the peer does not have it. */
  async getManifest(
    peer: Peer,
    repository: Repository,
    digest: Digest,
    options: AskOptions,
  ): Promise<PeerManifest | undefined> {
    const response = await this.#transport.send(
      peer,
      { method: 'GET', target: requestPath(repository, 'manifests', digest), headers: {} },
      options,
    )
    if (response.status === 404) return discard(response)
    const bytes = await this.#read(peer, response, MAX_MANIFEST_BYTES)
    return { bytes, mediaType: parseManifestType(response.header('content-type') ?? ''), access: accessOf(response) }
  }

  /** What a tag names at the peer; undefined if it does not know it. */
  async resolveTag(peer: Peer, tag: TagReference, options: AskOptions): Promise<PeerTag | undefined> {
    const response = await this.#transport.send(
      peer,
      { method: 'HEAD', target: requestPath(tag, 'manifests', tag.tag), headers: {} },
      options,
    )
    if (response.status === 404) return discard(response)
    discard(response)
    const digest = parseDigest(response.header('docker-content-digest') ?? '')
    const size = Number(response.header('content-length') ?? Number.NaN)
    const mediaType = parseManifestType(response.header('content-type') ?? '')
    const asOf = Date.parse(response.header(AS_OF_HEADER) ?? '')
    if (digest === undefined || mediaType === undefined || !Number.isSafeInteger(size) || Number.isNaN(asOf)) {
      throw new PeerError('invalid', `${peer.address} answered a tag without saying what it names`)
    }
    return { descriptor: { digest, size, mediaType }, asOf, access: accessOf(response) }
  }

  call<Request, Answer>(
    peer: Peer,
    contract: NodeContract<Request, Answer>,
    request: Request,
    options: { signal: AbortSignal },
  ): Promise<Answer> {
    return this.#messages.call(peer, contract, request, options)
  }

  async #post(
    peer: Peer,
    target: string,
    body: Uint8Array,
    options: { limit: number; signal: AbortSignal },
  ): Promise<Uint8Array> {
    const headers = { 'content-type': 'application/json' }
    const response = await this.#transport.send(
      peer,
      { method: 'POST', target, headers, body },
      { signal: options.signal },
    )
    return this.#read(peer, response, options.limit)
  }

  #read(peer: Peer, response: PeerResponse, limit: number): Promise<Uint8Array> {
    return this.#isProven ? readProvenAnswer(peer, response, limit) : readAnswer(peer, response, limit)
  }
}

function rangeHeader(start: number, end: number | undefined): string | undefined {
  if (end !== undefined) return `bytes=${start}-${end - 1}`
  return start === 0 ? undefined : `bytes=${start}-`
}

function accessOf(response: { header(name: string): string | undefined }): PeerAccess {
  const access = response.header(ACCESS_HEADER)
  return access === 'public' || access === 'open' || access === 'imported' ? access : 'unknown'
}

/** Ids without a meaning of their own; undefined if they are not, or too many. */
function parsePath(header: string | undefined): readonly string[] | undefined {
  if (header === undefined) return []
  const ids = header.split(',', MAX_PATH + 1).map((id) => id.trim())
  return ids.length <= MAX_PATH && ids.every((id) => /^[\w.:-]{1,128}$/.test(id)) ? ids : undefined
}
