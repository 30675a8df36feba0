import { hedge } from '../../async/hedge.ts'
import { isLocalRegistry } from '../../oci/local-registry.ts'
import type { Repository } from '../../oci/reference.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { PeerClient } from '../../peers/peer-client.ts'
import { PeerError } from '../../peers/peer-transport.ts'
import { keyOfDigest } from '../../providers/index-key.ts'
import type { ProviderIndex } from '../../providers/provider-index.ts'
import type { LeftSource, SwarmSource } from '../../swarm/swarm.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { type Upstream, UpstreamError } from '../../upstream/upstream.ts'
import type { BlobRequest } from './blob-request.ts'
import type { Delivery } from '../access/provenance.ts'
import type { KnownSizes } from './known-sizes.ts'
import type { Rights } from '../access/rights.ts'
import { NotFetchedError, type RegistryPolicy, includesRegistry } from '../access/registry-policy.ts'
import { type SourceStream, StalledError } from './resuming-stream.ts'
import { StripedSource } from './striped-source.ts'
import type { Holder } from './striping/holders.ts'

export interface BlobSourcesOptions {
  readonly self: Peer
  readonly index: Pick<ProviderIndex, 'find' | 'disprove'>
  readonly peers: Pick<PeerClient, 'getBlob' | 'headBlob'>
  readonly upstream: Pick<Upstream, 'getBlob' | 'headBlob'>
  readonly policy: RegistryPolicy
  readonly rights: Pick<Rights, 'vouchesFor' | 'isRefused'>
  /** What manifests state, for registries whose answers have no length. */
  readonly sizes: Pick<KnownSizes, 'of'>
  /** The longest silence of a peer and of an upstream inside a body, in milliseconds. */
  readonly peerStall: number
  readonly upstreamStall: number
  readonly log: Log
}

/** A peer's open answer. */
export interface PeerStream extends SourceStream {
  readonly kind: 'peer'
  /** The one that answered, and those that may give a part. */
  readonly from: readonly SwarmSource[]
  /** The nodes that its bytes come through, the root first, itself last; empty if it holds them all. */
  readonly path: readonly string[]
  readonly delivery: Delivery
}

/** An upstream's open answer. */
export interface UpstreamStream extends SourceStream {
  readonly kind: 'upstream'
  readonly delivery: Delivery
  /** Which of the registry's addresses gave it. */
  readonly address: string
}

export interface PeerAttempt {
  readonly position: number
  /** The byte after the last one that is wanted; undefined: all that follow. */
  readonly end: number | undefined
  /** How long a source may take until its answer begins, in milliseconds; what a peer has for any answer if absent. */
  readonly headerTimeout?: number
  readonly signal: AbortSignal
  /** Called for each source that did not give the blob. */
  left(source: LeftSource, error: unknown): void
}

/** A peer that has not answered by then gets company: the 99th percentile of a loaded neighbour, not of a dead one. */
const HEDGE_DELAY = 200
/** What a stall waits longer for each node between the source and the root, so that only the child next to the fault moves. */
const STALL_PER_LEVEL = 250
const MAX_PEERS_TRIED = 8
/** Read at the same time. */
const MAX_STRIPES = 4

/** Opens blobs at peers and at the upstream, one source at a time. */
export class BlobSources {
  readonly #options: BlobSourcesOptions

  constructor(options: BlobSourcesOptions) {
    this.#options = options
  }

  fallsBack(repository: Repository): boolean {
    return includesRegistry(this.#options.policy.fallback, repository.registry)
  }

  /** Why {@link fallsBack} is false. */
  notFetched({ registry }: Repository): NotFetchedError {
    return new NotFetchedError(registry, this.#options.policy)
  }

  /** Peers that claim to hold the whole blob, as far as the index knows. */
  async holders(
    { repository, digest }: BlobRequest,
    options: { signal: AbortSignal },
  ): Promise<readonly SwarmSource[]> {
    // A local registry (`localhost`) is a different registry on each peer.
    if (isLocalRegistry(repository.registry)) return []
    const peers = await this.#options.index.find(keyOfDigest(digest), options)
    return peers.map((peer) => ({ peer, complete: true, level: 0 }))
  }

  /** The first of these that gives the blob from `position` on; undefined if none does. */
  async openPeer(
    request: BlobRequest,
    sources: readonly SwarmSource[],
    attempt: PeerAttempt,
  ): Promise<PeerStream | undefined> {
    const others = sources.filter(({ peer }) => peer.id !== this.#options.self.id).slice(0, MAX_PEERS_TRIED)
    const winner = await hedge<SwarmSource, PeerStream>(
      others,
      (source, { signal }) => this.#open(request, source, { ...attempt, signal }),
      {
        delay: HEDGE_DELAY,
        signal: attempt.signal,
        discard: (stream) => stream.cancel(),
        onFailure: (source, error) => this.#failed(request, source, error, attempt),
      },
    )
    if (winner === undefined) return undefined
    const holders = others.filter((source) => source.complete && source !== winner.candidate)
    const isWhole = winner.candidate.complete && winner.value.path.length === 0
    return isWhole && holders.length > 0 ? this.#striped(request, winner.value, holders, attempt) : winner.value
  }

  /** undefined if the upstream does not have it. `last` are addresses to ask after the others. Throws UpstreamError. */
  async openUpstream(
    { repository, digest, caller }: BlobRequest,
    options: Pick<PeerAttempt, 'position' | 'end' | 'signal'> & { readonly last: readonly string[] },
  ): Promise<UpstreamStream | undefined> {
    const { position: start, end, last, signal } = options
    if (this.#options.rights.isRefused(caller, repository))
      throw new UpstreamError('denied', `${repository.registry} has just refused this client`)
    const blob = await this.#options.upstream.getBlob(repository, digest, {
      start,
      end,
      last,
      signal,
      as: caller?.credential ?? 'node',
      statedSize: this.#options.sizes.of(repository, digest),
    })
    if (blob === undefined) return undefined
    const { size, body, address } = blob
    const delivery = { from: 'upstream', anonymous: blob.anonymous } as const
    const stall = this.#options.upstreamStall
    return {
      kind: 'upstream',
      name: repository.registry,
      address,
      delivery,
      stall,
      size,
      body,
      cancel: () => blob.cancel(),
    }
  }

  async sizeAtPeers(request: BlobRequest, options: { signal: AbortSignal }): Promise<number | undefined> {
    const holders = await this.holders(request, options)
    const winner = await hedge<SwarmSource, number>(
      holders.slice(0, MAX_PEERS_TRIED),
      async ({ peer }, { signal }) => {
        const size = await this.#options.peers.headBlob(peer, request.repository, request.digest, {
          signal,
          verified: await this.#isVerified(request, signal),
        })
        if (size === undefined) this.#disprove(request, peer)
        return size
      },
      {
        delay: HEDGE_DELAY,
        signal: options.signal,
        onFailure: (source, error) => this.#logFailure(request, source, error),
      },
    )
    return winner?.value
  }

  sizeUpstream(
    { repository, digest, caller }: BlobRequest,
    options: { signal: AbortSignal },
  ): Promise<number | undefined> {
    const as = caller?.credential ?? 'node'
    const statedSize = this.#options.sizes.of(repository, digest)
    return this.#options.upstream.headBlob(repository, digest, { ...options, as, statedSize })
  }

  async #open(request: BlobRequest, source: SwarmSource, attempt: PeerAttempt): Promise<PeerStream> {
    const { peers, self, peerStall } = this.#options
    const { peer, level, complete } = source
    const { position: start, end, headerTimeout, signal } = attempt
    const verified = await this.#isVerified(request, signal)
    const blob = await peers.getBlob(peer, request.repository, request.digest, {
      start,
      end,
      signal,
      verified,
      ...(headerTimeout === undefined ? {} : { headerTimeout }),
    })
    if (blob === undefined) throw new AbsentError(`${peer.address} does not hold it`)
    if (blob.path.includes(self.id)) {
      blob.cancel()
      // Not a refusal, which the coordinator remembers for long: the path of a relay grows old when a source above it changes.
      throw new AbsentError(`${peer.address} gets it from this node`)
    }
    const stall = peerStall + STALL_PER_LEVEL * level
    const { size, body, path, access } = blob
    const delivery = { from: 'peer', access, isVouched: verified } as const
    // What it says itself is newer: its last byte has been handed out, and whether they are right is yet to be seen.
    const from = [{ ...source, complete: complete && path.length === 0 }]
    return { kind: 'peer', name: peer.address, from, delivery, stall, size, body, path, cancel: () => blob.cancel() }
  }

  /** One that holds it all may get company while that makes the whole faster. */
  #striped(request: BlobRequest, first: PeerStream, others: readonly SwarmSource[], attempt: PeerAttempt): PeerStream {
    const from = [...first.from, ...others].slice(0, MAX_STRIPES)
    const byName = new Map(from.map((source) => [source.peer.address, source]))
    const striped = new StripedSource({
      span: { start: attempt.position, end: Math.min(attempt.end ?? first.size, first.size) },
      holders: from.map((source) => this.#holder(request, source, first.size)),
      opened: first,
      stall: first.stall,
      onLeft: ({ name }, error) => {
        const source = byName.get(name)
        if (source !== undefined) this.#failed(request, source, error, attempt)
      },
    })
    return {
      ...first,
      from,
      // Each holder's silence is looked after inside; this one is for all of them together.
      stall: (from.length + 1) * first.stall,
      body: striped.body,
      sender: () => striped.sender(),
      cancel: () => striped.cancel(),
    }
  }

  #holder(request: BlobRequest, { peer }: SwarmSource, size: number): Holder {
    return {
      name: peer.address,
      open: async (start, end, { signal }) => {
        const { repository, digest } = request
        const asked = { start, end, signal, verified: await this.#isVerified(request, signal) }
        const blob = await this.#options.peers.getBlob(peer, repository, digest, asked)
        if (blob === undefined) throw new AbsentError(`${peer.address} does not hold it`)
        if (blob.size === size) return blob
        blob.cancel()
        throw new PeerError('invalid', `${peer.address} says ${blob.size} bytes where others said ${size}`)
      },
    }
  }

  /** Whether this node may tell peers that the registry showed the blob to the client. */
  #isVerified({ repository, digest, caller }: BlobRequest, signal: AbortSignal): Promise<boolean> {
    return this.#options.rights.vouchesFor(caller, repository, { kind: 'blobs', reference: digest }, { signal })
  }

  #failed(request: BlobRequest, source: SwarmSource, error: unknown, attempt: PeerAttempt): void {
    const reason = reasonOf(error)
    if (reason === 'absent' && source.complete) this.#disprove(request, source.peer)
    this.#logFailure(request, source, error)
    attempt.left({ id: source.peer.id, reason }, error)
  }

  #disprove({ digest }: BlobRequest, peer: Peer): void {
    this.#options.index.disprove(keyOfDigest(digest), peer)
  }

  #logFailure({ digest }: BlobRequest, { peer, complete }: SwarmSource, error: unknown): void {
    const isNews = reasonOf(error) === 'broken'
    const fields = { digest, peer: peer.address, complete, err: errorText(error) }
    this.#options.log[isNews ? 'warn' : 'debug'](fields, 'a peer did not give a blob')
  }
}

/** A peer that was said to hold it does not. */
class AbsentError extends Error {
  override readonly name = 'AbsentError'
}

function reasonOf(error: unknown): LeftSource['reason'] {
  if (error instanceof AbsentError) return 'absent'
  if (error instanceof StalledError) return 'stalled'
  if (!(error instanceof PeerError)) return 'broken'
  if (error.reason === 'slow') return 'stalled'
  return error.reason === 'busy' || error.reason === 'refused' ? error.reason : 'broken'
}
