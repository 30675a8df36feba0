import { OciError } from '../oci/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import { PeerError, type PeerClient } from '../peers/peer-client.ts'
import { keyOfDigest } from '../providers/index-key.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { type Upstream, UpstreamError } from '../upstream/upstream.ts'
import { firstOf } from './first-of.ts'
import { type RegistryPolicy, includesRegistry } from './registry-policy.ts'
import { ResumingStream, type SourceStream } from './resuming-stream.ts'
import type { Suspects } from './suspects.ts'
import type { TransferRecord } from './transfer-record.ts'

export interface BlobRequest {
  readonly repository: Repository
  readonly digest: Digest
}

export interface RemoteBlobsOptions {
  readonly index: Pick<ProviderIndex, 'find' | 'disprove'>
  readonly peers: Pick<PeerClient, 'getBlob' | 'headBlob'>
  readonly upstream: Pick<Upstream, 'getBlob' | 'headBlob'>
  readonly policy: RegistryPolicy
  readonly suspects: Suspects
  /** The longest silence of a peer and of an upstream inside a body, in milliseconds. */
  readonly peerStall: number
  readonly upstreamStall: number
  readonly log: Log
}

/** A peer that has not answered by then gets company: the 99th percentile of a loaded neighbour, not of a dead one. */
const HEDGE_DELAY = 200
const MAX_PEERS_TRIED = 8
const MAX_UPSTREAM_FAILURES = 3

/** Blobs from elsewhere: neighbours first, then the upstream where the registry falls back. */
export class RemoteBlobs {
  readonly #options: RemoteBlobsOptions

  constructor(options: RemoteBlobsOptions) {
    this.#options = options
  }

  /** Opens a blob at byte `start`. Throws OciError when nobody gives it. */
  async open(request: BlobRequest, options: { start: number; signal: AbortSignal }): Promise<ResumingStream> {
    const search = new SourceSearch(this.#options, request)
    const first = await search.next(options.start, options.signal)
    if (first === undefined) throw search.refusal()
    return new ResumingStream({
      first,
      start: options.start,
      signal: options.signal,
      reopen: (position, broken) => search.resume(position, broken, options.signal),
      // A part alone says nothing: several of them are asked for in turn.
      onWhole: (shares) => {
        const peers = shares.flatMap(({ peer }) => peer ?? [])
        if (peers.length > 0) this.#options.suspects.note(request.digest, peers)
      },
    })
  }

  /** Takes wrong bytes as a proof against the claims of the peers that sent some of them: the next try begins elsewhere. */
  async blame(request: BlobRequest, record: TransferRecord, options: { signal: AbortSignal }): Promise<void> {
    const key = keyOfDigest(request.digest)
    const senders = new Set(record.shares.map((share) => share.peer))
    for (const peer of await this.#options.index.find(key, options)) {
      if (senders.has(peer.address)) this.#options.index.disprove(key, peer)
    }
  }

  /** Size of a blob in bytes. Throws OciError when nobody has it. */
  async head(request: BlobRequest, options: { signal: AbortSignal }): Promise<number> {
    const search = new SourceSearch(this.#options, request)
    const size = await search.size(options.signal)
    if (size === undefined) throw search.refusal()
    return size
  }
}

/** The sources of one blob for one transfer: what was tried, and what may be tried next. */
class SourceSearch {
  readonly #options: RemoteBlobsOptions
  readonly #request: BlobRequest
  readonly #failedPeers = new Set<string>()
  #avoidedPeers: ReadonlySet<string>
  #upstreamFailures = 0
  #upstreamAbsent = false
  #lastError: unknown

  constructor(options: RemoteBlobsOptions, request: BlobRequest) {
    this.#options = options
    this.#request = request
    this.#avoidedPeers = options.suspects.of(request.digest)
  }

  /** The next source that has the blob at `position`; undefined if none is left. */
  async next(position: number, signal: AbortSignal): Promise<SourceStream | undefined> {
    const found = (await this.#fromPeers(position, signal)) ?? (await this.#fromUpstream(position, signal))
    if (found !== undefined || this.#avoidedPeers.size === 0) return found
    // Better than nobody.
    this.#avoidedPeers = new Set()
    return this.#fromPeers(position, signal)
  }

  resume(position: number, broken: { source: SourceStream; error: unknown; progressed: boolean }, signal: AbortSignal) {
    const { source, error, progressed } = broken
    this.#lastError = error
    if (source.kind === 'peer') this.#failedPeers.add(source.name)
    else this.#upstreamFailures = progressed ? 1 : this.#upstreamFailures + 1
    const fields = {
      digest: this.#request.digest,
      source: source.kind,
      from: source.name,
      position,
      err: errorText(error),
    }
    this.#options.log.warn(fields, 'a source broke off; going on with another one')
    return this.next(position, signal)
  }

  async size(signal: AbortSignal): Promise<number | undefined> {
    const { repository, digest } = this.#request
    const winner = await this.#race(
      signal,
      (peer, options) => this.#options.peers.headBlob(peer, repository, digest, options),
      () => {},
    )
    if (winner !== undefined) return winner.value
    return this.#askUpstream(signal, () => this.#options.upstream.headBlob(repository, digest, { signal }))
  }

  /** Why nobody gave it, in words for the pod's event. */
  refusal(): OciError {
    const { repository, digest } = this.#request
    const why = !this.#fallsBack()
      ? `no node has it, and ${repository.registry} is not fetched by the mirror`
      : this.#lastError === undefined || this.#upstreamAbsent
        ? `no node has it, nor has ${repository.registry}`
        : `no node has it, and ${errorText(this.#lastError)}`
    return new OciError('BLOB_UNKNOWN', { message: `${digest}: ${why}`, cause: this.#lastError })
  }

  async #fromPeers(position: number, signal: AbortSignal): Promise<SourceStream | undefined> {
    const { repository, digest } = this.#request
    const winner = await this.#race(
      signal,
      (peer, options) => this.#options.peers.getBlob(peer, repository, digest, { start: position, ...options }),
      (blob) => blob.cancel(),
    )
    if (winner === undefined) return undefined
    return { kind: 'peer', name: winner.candidate.address, stall: this.#options.peerStall, ...streamOf(winner.value) }
  }

  async #fromUpstream(position: number, signal: AbortSignal): Promise<SourceStream | undefined> {
    const { repository, digest } = this.#request
    const blob = await this.#askUpstream(signal, () =>
      this.#options.upstream.getBlob(repository, digest, { start: position, signal }),
    )
    if (blob === undefined) return undefined
    return { kind: 'upstream', name: repository.registry, stall: this.#options.upstreamStall, ...streamOf(blob) }
  }

  async #race<T>(
    signal: AbortSignal,
    attempt: (peer: Peer, options: { signal: AbortSignal }) => Promise<T | undefined>,
    discard: (value: T) => void,
  ) {
    const key = keyOfDigest(this.#request.digest)
    const providers = await this.#options.index.find(key, { signal })
    const candidates = providers
      .filter(({ address }) => !this.#failedPeers.has(address) && !this.#avoidedPeers.has(address))
      .slice(0, MAX_PEERS_TRIED)
    return firstOf<Peer, T>(
      candidates,
      async (peer, options) => {
        const value = await attempt(peer, options)
        if (value === undefined) this.#options.index.disprove(key, peer)
        return value
      },
      { hedgeDelay: HEDGE_DELAY, signal, discard, failed: (peer, error) => this.#noteFailure(peer, error) },
    )
  }

  #noteFailure(peer: Peer, error: unknown): void {
    this.#failedPeers.add(peer.address)
    this.#lastError = error
    const busy = error instanceof PeerError && error.reason === 'busy'
    this.#options.log[busy ? 'debug' : 'warn'](
      { peer: peer.address, err: errorText(error) },
      'a peer did not give a blob',
    )
  }

  async #askUpstream<T>(signal: AbortSignal, ask: () => Promise<T | undefined>): Promise<T | undefined> {
    while (this.#fallsBack() && !this.#upstreamAbsent && this.#upstreamFailures < MAX_UPSTREAM_FAILURES) {
      try {
        const answer = await ask()
        this.#upstreamAbsent = answer === undefined
        return answer
      } catch (error) {
        signal.throwIfAborted()
        this.#lastError = error
        const retryable = error instanceof UpstreamError && error.reason === 'unreachable'
        this.#upstreamFailures = retryable ? this.#upstreamFailures + 1 : MAX_UPSTREAM_FAILURES
      }
    }
    return undefined
  }

  #fallsBack(): boolean {
    return includesRegistry(this.#options.policy.fallback, this.#request.repository.registry)
  }
}

function streamOf(blob: { size: number; body: AsyncIterable<Uint8Array>; cancel(): void }) {
  return { size: blob.size, body: blob.body, cancel: () => blob.cancel() }
}
