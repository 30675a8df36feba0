import { hedge } from '../../async/hedge.ts'
import type { OciError } from '../../oci/errors.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { Direction, LeftSource, Membership, Swarm, SwarmOutcome, SwarmSource } from '../../swarm/swarm.ts'
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { second } from '../../time/units.ts'
import { type WhyNobody, outcomeOf, refusalOf } from './blob-refusal.ts'
import type { BlobSources, PeerAttempt, PeerStream, UpstreamStream } from './blob-sources.ts'
import type { DeliveryCounters, TransferState } from './delivery-counters.ts'
import type { BlobRequest } from './blob-request.ts'
import { followDirections } from './follow-directions.ts'
import { type BrokenSource, RecalledError, type SourceStream, StalledError } from './resuming-stream.ts'
import type { Sender } from './blob-trace.ts'
import type { KnownSizes } from './known-sizes.ts'
import type { Caution, Suspects } from '../integrity/suspects.ts'
import type { VettedCopies } from '../integrity/vetted-copies.ts'
import type { Transfer, Transfers } from './transfers.ts'
import type { UpstreamRates } from './upstream-rates.ts'
import { UpstreamTries } from './upstream-tries.ts'
import type { Delivery } from '../access/provenance.ts'
import type { Rights } from '../access/rights.ts'

export interface SourceSearchOptions {
  readonly sources: BlobSources
  readonly swarm: Swarm
  readonly transfers: Transfers
  readonly suspects: Pick<Suspects, 'avoids'>
  readonly vetted: Pick<VettedCopies, 'open'>
  readonly rights: Pick<Rights, 'mayShare' | 'blobComes'>
  readonly sizes: Pick<KnownSizes, 'of'>
  readonly rates: UpstreamRates
  readonly counters: DeliveryCounters
  readonly log: Log
}

export interface SearchFor {
  readonly start: number
  /** Of what is wanted, exclusive; undefined: all. */
  readonly end: number | undefined
  readonly serves: boolean
  readonly caution: Caution
}

/** So many sources in a row of another size than the known one. */
const MAX_SIZES = 6
/** Of the 9 s until the header; the rest is left for holders if the registry neither answers nor refuses. */
const UPSTREAM_PATIENCE = 2 * second

/** The sources of one blob for one transfer: what was tried, and what may be tried next. */
export class SourceSearch {
  /** Who gave something, by address. */
  readonly senders = new Map<string, Sender>()
  readonly #options: SourceSearchOptions
  readonly #request: BlobRequest
  readonly #for: SearchFor
  readonly #transfer: Transfer
  readonly #failedPeers = new Set<string>()
  #membership: Membership | undefined
  #onRecall: () => void = () => {}
  #left: LeftSource[] = []
  #size: number | undefined
  readonly #upstream: UpstreamTries
  #position: number
  #lastError: unknown
  #ended = false
  readonly #deliveries: Delivery[] = []
  #answeredAt: number | undefined
  #leaveState: () => void

  constructor(options: SourceSearchOptions, request: BlobRequest, searchFor: SearchFor) {
    this.#options = options
    this.#request = request
    this.#for = searchFor
    this.#position = searchFor.start
    this.#upstream = new UpstreamTries(request, options)
    this.#size = options.sizes.of(request.repository, request.digest)
    this.#transfer = options.transfers.begin(request.digest, request.repository)
    this.#transfer.position = searchFor.start
    this.#transfer.size = this.#size
    this.#leaveState = options.counters.enter('searching')
  }

  /** The next source that has the blob at `position`; undefined if none is left. */
  async next(position: number, signal: AbortSignal): Promise<SourceStream | undefined> {
    this.#enter('searching')
    this.#transfer.source = undefined
    // The nodes that the old source read from would refuse this node as a source of theirs.
    this.#transfer.path = []
    const stream = await this.#findOfSize(position, signal)
    if (stream === undefined) return undefined
    const { repository, digest } = this.#request
    try {
      await this.#options.rights.blobComes(repository, digest, stream.delivery, { signal })
    } catch (error) {
      stream.cancel()
      throw error
    }
    if (this.#ended) {
      stream.cancel()
      return undefined
    }
    this.#deliveries.push(stream.delivery)
    this.#answeredAt ??= performance.now()
    this.#size ??= stream.size
    this.#transfer.size = this.#size
    this.#transfer.source = { kind: stream.kind, name: stream.name }
    this.#transfer.hasBegun = true
    this.#transfer.waitsForPeers = false
    this.#transfer.path = isPeerStream(stream) ? stream.path : []
    this.#enter(stateOf(stream))
    return stream
  }

  async resume(position: number, broken: BrokenSource, signal: AbortSignal): Promise<SourceStream | undefined> {
    const { source, error, progressed } = broken
    this.#upstream.ended(this.#position)
    if (!(error instanceof RecalledError)) {
      this.#lastError = error
      this.#note(source, error, progressed)
    }
    const fields = { source: source.kind, from: source.name, position, err: errorText(error) }
    const level = error instanceof RecalledError ? 'debug' : 'warn'
    this.#options.log[level]({ digest: this.#request.digest, ...fields }, 'going on with another source')
    const next = await this.next(position, signal)
    if (next !== undefined) this.#options.counters.resumed()
    return next
  }

  progress(position: number): void {
    this.#position = position
    this.#transfer.position = position
    this.#membership?.progress(position)
  }

  onRecall(listener: () => void): void {
    this.#onRecall = listener
  }

  /** Nothing more is read. */
  end({ reachedEnd }: { reachedEnd: boolean }): void {
    this.#ended = true
    this.#upstream.ended(this.#position)
    this.#leaveState()
    this.#transfer.end()
    // What went past the store is not here, however whole it was.
    this.#leave({ type: reachedEnd && this.#for.serves ? 'complete' : 'cancelled' })
  }

  /** The delivery from the registry; undefined if any source was a peer. `anonymous`: every request went without credentials. */
  get fromRegistry(): Extract<Delivery, { from: 'upstream' }> | undefined {
    const deliveries = this.#deliveries.flatMap((delivery) => (delivery.from === 'upstream' ? delivery : []))
    if (deliveries.length < this.#deliveries.length) return undefined
    const at = this.#answeredAt
    return {
      from: 'upstream',
      anonymous: deliveries.every(({ anonymous }) => anonymous),
      ...(at === undefined ? {} : { at }),
    }
  }

  refusal(): OciError {
    return refusalOf(this.#request, this.#options.sources, this.#why)
  }

  get #why(): WhyNobody {
    return { absent: this.#upstream.absent, error: this.#lastError, isCautious: this.#for.caution !== 'none' }
  }

  /** A source whose size differs from the known one has wrong bytes: skip it now rather than break off in the middle. */
  async #findOfSize(position: number, signal: AbortSignal): Promise<FoundStream | undefined> {
    for (let found = 0; found < MAX_SIZES; found += 1) {
      const stream = await this.#find(position, signal)
      if (stream === undefined) return undefined
      if (isPeerStream(stream)) for (const source of stream.from) this.senders.set(source.peer.address, source)
      if (this.#size === undefined || stream.size === this.#size) return stream
      stream.cancel()
      this.#upstream.ended(position)
      this.#lastError = new Error(`${stream.name} says ${stream.size} bytes where others said ${this.#size}`)
      this.#note(stream, this.#lastError, false)
    }
    return undefined
  }

  async #find(position: number, signal: AbortSignal): Promise<FoundStream | undefined> {
    if (this.#for.caution !== 'none') return this.#fromUpstreamOrVetted(position, signal)
    if (await this.#isShared(signal)) {
      const found = await this.#fromSwarm(position, signal)
      if (found !== 'alone') return found
      this.#transfer.waitsForPeers = false
    }
    const alone = (await this.#fromHolders(position, signal)) ?? (await this.#fromUpstream(position, signal))
    // Last resort: peers that this node avoids for the digest.
    return alone ?? ((await this.#hasAvoided(signal)) ? this.#fromVetted(position, signal) : undefined)
  }

  /**
   * From the upstream, or from a vetted copy if the upstream fails or takes longer than {@link UPSTREAM_PATIENCE}: no byte of a peer is passed on
   * unverified.
   */
  async #fromUpstreamOrVetted(position: number, signal: AbortSignal): Promise<FoundStream | undefined> {
    const ways = [
      (signal: AbortSignal) => this.#fromUpstream(position, signal),
      (signal: AbortSignal): Promise<FoundStream | undefined> => this.#fromVetted(position, signal),
    ]
    const winner = await hedge(ways, (open, { signal }) => open(signal), {
      delay: UPSTREAM_PATIENCE,
      signal,
      discard: (stream) => {
        stream.cancel()
        if (!isPeerStream(stream)) this.#upstream.ended(position)
      },
    })
    return winner?.value
  }

  /**
   * Whether to ask the swarm: not for private content, not for a part of a blob, and without the upstream only if a peer holds it. A node that
   * reads a part neither keeps it nor can be followed: its lease would only make others wait.
   */
  async #isShared(signal: AbortSignal): Promise<boolean> {
    const { rights, sources } = this.#options
    const { repository, caller } = this.#request
    if (this.#for.end !== undefined || caller !== undefined || !rights.mayShare(repository)) return false
    return sources.fallsBack(repository) || (await sources.holders(this.#request, { signal })).length > 0
  }

  async #fromSwarm(position: number, signal: AbortSignal): Promise<FoundStream | undefined | 'alone'> {
    let isNamed = false
    this.#transfer.waitsForPeers = true
    const found = await followDirections(
      {
        ask: (signal) => this.#ask(position, signal),
        open: (sources, options) => {
          isNamed = true
          return this.#fromPeers(this.#trusted(sources), { position, ...options })
        },
        complain: (ids) => this.#left.push(...ids.map((id) => ({ id, reason: 'stalled' as const }))),
      },
      signal,
    )
    if (!('type' in found)) return found
    if (found.type === 'failed') {
      this.#lastError = new ToldFailureError(found)
      this.#upstream.absent = found.failure.absent
      return undefined
    }
    if (found.type !== 'upstream') return 'alone'
    // After slow sources a client gains nothing by asking the registry itself. Without them only the upstream can be slow, and it may.
    this.#transfer.waitsForPeers = isNamed
    if (!this.#options.sources.fallsBack(this.#request.repository)) {
      this.#leave({ type: 'cancelled' })
      return 'alone'
    }
    const stream = await this.#fromUpstream(position, signal)
    if (stream === undefined) this.#leave(outcomeOf(this.#request, this.#why))
    return stream
  }

  /** Those that sent this node wrong bytes are left out, whatever the coordinator says. */
  #trusted(given: readonly SwarmSource[]): readonly SwarmSource[] {
    for (const { peer } of given) if (this.#avoids(peer)) this.#left.push({ id: peer.id, reason: 'refused' })
    return given.filter(({ peer }) => !this.#avoids(peer))
  }

  #ask(position: number, signal: AbortSignal): Promise<Direction> {
    const { repository, digest } = this.#request
    this.#membership ??= this.#join(this.#options.swarm.enter({ repository, content: { kind: 'blob', digest } }))
    const left = this.#left
    this.#left = []
    return this.#membership.ask({ position, size: this.#size, serves: this.#for.serves, left }, { signal })
  }

  #join(membership: Membership): Membership {
    membership.onRecall(() => {
      this.#options.counters.recalled()
      this.#onRecall()
    })
    return membership
  }

  #leave(outcome: SwarmOutcome): void {
    this.#membership?.leave(outcome)
    this.#membership = undefined
  }

  async #fromHolders(position: number, signal: AbortSignal): Promise<PeerStream | undefined> {
    const holders = await this.#options.sources.holders(this.#request, { signal })
    const wanted = holders.filter(({ peer }) => !this.#failedPeers.has(peer.id) && !this.#avoids(peer))
    return this.#fromPeers(wanted, { position, signal })
  }

  async #hasAvoided(signal: AbortSignal): Promise<boolean> {
    return (await this.#options.sources.holders(this.#request, { signal })).some(({ peer }) => this.#avoids(peer))
  }

  #fromVetted(position: number, signal: AbortSignal): Promise<PeerStream | undefined> {
    const attempt = { position, end: this.#for.end, size: this.#size, signal }
    return this.#options.vetted.open(this.#request, attempt)
  }

  #avoids(peer: Peer): boolean {
    return this.#options.suspects.avoids(this.#request.digest, peer)
  }

  #fromPeers(
    from: readonly SwarmSource[],
    attempt: Pick<PeerAttempt, 'position' | 'headerTimeout' | 'signal'>,
  ): Promise<PeerStream | undefined> {
    const left = (source: LeftSource, error: unknown) => {
      this.#failedPeers.add(source.id)
      this.#left.push(source)
      this.#lastError = error
      this.#options.counters.left(source.reason)
    }
    return this.#options.sources.openPeer(this.#request, from, { ...attempt, end: this.#for.end, left })
  }

  async #fromUpstream(position: number, signal: AbortSignal): Promise<FoundStream | undefined> {
    const stream = await this.#upstream.open(position, this.#for.end, signal)
    if (stream === undefined) this.#lastError = this.#upstream.lastError ?? this.#lastError
    return stream
  }

  #note(source: SourceStream, error: unknown, progressed: boolean): void {
    const reason = error instanceof StalledError ? 'stalled' : 'broken'
    this.#options.counters.left(reason)
    if (!isPeerStream(source)) {
      this.#upstream.broke({ progressed })
      return
    }
    const sender = this.senders.get(source.sender?.() ?? source.name)
    if (sender === undefined) return
    this.#failedPeers.add(sender.peer.id)
    this.#left.push({ id: sender.peer.id, reason })
  }

  #enter(state: TransferState): void {
    this.#leaveState()
    if (this.#ended) return
    this.#leaveState = this.#options.counters.enter(state)
  }
}

/** The open answer that a search returns. */
type FoundStream = PeerStream | UpstreamStream

function isPeerStream(stream: SourceStream): stream is PeerStream {
  return stream.kind === 'peer'
}

function stateOf(stream: SourceStream): TransferState {
  if (!isPeerStream(stream)) return 'upstream'
  return stream.from.some(({ complete }) => !complete) ? 'relay' : 'holder'
}
