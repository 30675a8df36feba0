import { errors } from 'undici'

import { TooManyBytesError, readBounded } from '../async/read-bounded.ts'
import { askInStep } from '../authentication/ask-in-step.ts'
import { BODY_HEADER, hashBody } from '../authentication/proofs.ts'
import { type RequestSigner, isOutOfStep } from '../authentication/request-signer.ts'
import { HttpRequests } from '../http-client/http-requests.ts'
import { BufferPool } from '../mover/buffer-pool.ts'
import type { Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import { second } from '../time/units.ts'
import { PeerTimeoutError, SlowAnswerError } from './blobs/peer-connection.ts'
import { PeerConnections } from './blobs/peer-connections.ts'
import { PeerContacts } from './peer-contacts.ts'
import { ABSENT_HEADER, BUSY_HEADER, VERIFIED_HEADER } from './headers.ts'

/** A peer did not do what was asked. `busy`: it is well, and has enough to do. `slow`: it has not begun to answer a request for a blob in time. */
export class PeerError extends Error {
  override readonly name = 'PeerError'
  readonly reason: 'unreachable' | 'slow' | 'busy' | 'refused' | 'invalid'
  /** Of the answer that refused the request, if there was one. */
  readonly status: number | undefined

  constructor(
    reason: PeerError['reason'],
    message: string,
    { status, ...options }: { cause?: unknown; status?: number } = {},
  ) {
    super(message, options)
    this.reason = reason
    this.status = status
  }
}

/** The beginning of an answer; its body is to be read, discarded or destroyed. */
export interface PeerResponse {
  readonly status: number
  header(name: string): string | undefined
  readonly body: AsyncIterable<Uint8Array> & {
    destroy(): unknown
    dump(options: { limit: number; signal: AbortSignal }): Promise<void>
  }
}

export interface PeerRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly headerTimeout?: number | undefined
  readonly body?: Uint8Array
  /** What comes may be large. */
  readonly isBlob?: boolean
}

/** Of a question about content. */
export interface AskOptions {
  readonly signal: AbortSignal
  /** The client of the content may see it although it is not public. Peers believe it only of members of a cluster with a secret. */
  readonly verified?: boolean
}

const NO_BODY = new Uint8Array()
const CONNECT_TIMEOUT = 1 * second
const HEADER_TIMEOUT = 5 * second
/** A peer that let a question or a connection time out is not asked again for so long: each one would cost its client the whole timeout. */
const SILENCE_MEMORY = 5 * second
/** Of an answer that is not looked at: what is longer, or takes longer, costs a connection instead. */
const MAX_DISCARDED = 16 * 1024
const MAX_DISCARD_TIME = 1 * second

export interface PeerTransportOptions {
  /** Proves requests and checks answers. Absent: reads without a proof, whose answers any host on the path may have written. */
  readonly signer?: RequestSigner | undefined
  /** The longest silence inside a body, in milliseconds. */
  readonly idleTimeout: number
  /** Carries everything but blobs; its owner closes it. Absent: one of this transport's own. */
  readonly requests?: HttpRequests
  /** What blobs are read into; a client that has written a chunk may give it back. */
  readonly buffers?: BufferPool
}

/**
 * Carries requests to other nodes' peer listeners on kept connections. Each request is proved, and an answer without a valid proof is a failure
 * of the transport: it says nothing about what the peer holds. Errors are PeerError.
 */
export class PeerTransport {
  readonly #signer: RequestSigner | undefined
  readonly #requests: HttpRequests
  readonly #ownsRequests: boolean
  readonly #blobs: PeerConnections
  /** Peers that let a question time out, by address. */
  readonly #silent = new PeerHealth(SILENCE_MEMORY)
  /** Peers that let a connection time out, by address. */
  readonly #unreachable = new PeerHealth(SILENCE_MEMORY)
  readonly contacts = new PeerContacts()

  constructor({ signer, idleTimeout, requests, buffers = new BufferPool() }: PeerTransportOptions) {
    this.#signer = signer
    this.#requests = requests ?? new HttpRequests({ idleTimeout })
    this.#ownsRequests = requests === undefined
    this.#blobs = new PeerConnections({ connectTimeout: CONNECT_TIMEOUT, idleTimeout, buffers })
  }

  close(): Promise<void> {
    this.#blobs.close()
    return this.#ownsRequests ? this.#requests.close() : Promise.resolve()
  }

  /** Sends a request. Resolves for 200, 206, and 404 of a peer that says that it does not have the content. */
  async send(peer: Peer, asked: PeerRequest, { signal, verified = false }: AskOptions): Promise<PeerResponse> {
    // An announcement has time, and finds out that the peer is back.
    if (asked.method !== 'POST' && this.#isAvoided(peer, asked))
      throw new PeerError('unreachable', `${peer.address} did not answer a moment ago`)
    const claim = verified && this.#signer !== undefined ? { [VERIFIED_HEADER]: '1' } : {}
    const response = await this.#exchange(peer, { ...asked, headers: { ...asked.headers, ...claim } }, signal).catch(
      (error: unknown) => {
        if (error instanceof PeerError && error.reason !== 'slow') this.contacts.failed(peer.id, error)
        throw error
      },
    )
    this.contacts.succeeded(peer.id)
    this.#silent.recovered(peer.address)
    this.#unreachable.recovered(peer.address)
    const { status } = response
    const answers = status === 404 ? response.header(ABSENT_HEADER) !== undefined : [200, 206].includes(status)
    if (answers) return response
    discard(response)
    if (response.header(BUSY_HEADER) !== undefined) throw new PeerError('busy', `${peer.address} is busy`)
    throw new PeerError('refused', `${peer.address} answered ${status}`, { status })
  }

  /** Blobs of a peer that is slow are the swarm's to weigh, but not those of one that cannot be connected to. */
  #isAvoided({ address }: Peer, { isBlob = false }: PeerRequest): boolean {
    return this.#unreachable.isFailing(address) || (!isBlob && this.#silent.isFailing(address))
  }

  /** Sends a request until its incarnation and counter are the ones that the peer expects. Resolves with an authentic answer. */
  async #exchange(peer: Peer, asked: PeerRequest, signal: AbortSignal): Promise<PeerResponse> {
    if (this.#signer === undefined) return this.#carry(peer, asked, signal)
    const request = { ...asked, body: asked.body ?? NO_BODY }
    const carry = (headers: PeerRequest['headers']) => this.#carry(peer, { ...asked, headers }, signal)
    const proved = await askInStep(this.#signer, peer.id, request, carry, discard)
    if (proved === undefined) throw new PeerError('invalid', `${peer.address} has an id that is no public key`)
    const { answer, isAuthentic } = proved
    if (!isAuthentic) {
      answer.body.destroy()
      throw new PeerError(
        'unreachable',
        `${peer.address} answered ${answer.status} without a valid proof: another node or another program has this address`,
      )
    }
    if (!isOutOfStep(answer)) return answer
    discard(answer)
    throw new PeerError('refused', `${peer.address} accepted no repetition of a request`)
  }

  async #carry(peer: Peer, asked: PeerRequest, signal: AbortSignal): Promise<PeerResponse> {
    try {
      return await (asked.isBlob === true ? this.#askForBlob(peer, asked, signal) : this.#ask(peer, asked, signal))
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof SlowAnswerError)
        throw new PeerError('slow', `${peer.address} is slow: ${cause.message}`, { cause })
      if (cause instanceof errors.HeadersTimeoutError) this.#silent.failed(peer.address)
      if (isConnectTimeout(cause)) this.#unreachable.failed(peer.address)
      throw new PeerError('unreachable', `${peer.address} cannot be reached`, { cause })
    }
  }

  async #ask({ address }: Peer, asked: PeerRequest, signal: AbortSignal): Promise<PeerResponse> {
    const { method, headers, body, headerTimeout } = asked
    return this.#requests.send(`http://${address}${asked.target}`, {
      method,
      headers,
      headersTimeout: headerTimeout ?? HEADER_TIMEOUT,
      signal,
      ...(body === undefined ? {} : { body }),
    })
  }

  async #askForBlob({ address }: Peer, asked: PeerRequest, signal: AbortSignal): Promise<PeerResponse> {
    const { target, headers, headerTimeout = HEADER_TIMEOUT } = asked
    const {
      status,
      headers: answered,
      body,
    } = await this.#blobs.get({ address, target, headers, headerTimeout }, { signal })
    return { status, header: (name) => answered.get(name), body }
  }
}

/** Lets its connection be used again, and waits for nothing: all that is wanted of it is known. */
export function discard(response: PeerResponse): undefined {
  const signal = AbortSignal.timeout(MAX_DISCARD_TIME)
  response.body.dump({ limit: MAX_DISCARDED, signal }).catch(() => {})
}

/** An answer's whole body, of at most `limit` bytes. Throws PeerError. */
export async function readAnswer(peer: Peer, response: PeerResponse, limit: number): Promise<Uint8Array> {
  try {
    return await readBounded(response.body, limit)
  } catch (cause) {
    if (cause instanceof TooManyBytesError)
      throw new PeerError('invalid', `${peer.address} sent more than ${limit} bytes`, { cause })
    throw new PeerError('unreachable', `${peer.address} broke off`, { cause })
  }
}

/** Like {@link readAnswer}, for the body of an answer whose proof covers the body's hash. */
export async function readProvenAnswer(peer: Peer, response: PeerResponse, limit: number): Promise<Uint8Array> {
  const body = await readAnswer(peer, response, limit)
  if (response.header(BODY_HEADER) === hashBody(body)) return body
  throw new PeerError('unreachable', `${peer.address} sent a body that its proof does not cover`)
}

function isConnectTimeout(error: unknown): boolean {
  return error instanceof errors.ConnectTimeoutError || error instanceof PeerTimeoutError
}
