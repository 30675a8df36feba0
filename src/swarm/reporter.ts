import type { Overlay, Peer } from '../overlay/overlay.ts'
import { withDeadline } from '../time/deadline.ts'
import type { CoordinatorHealth } from './coordinator-health.ts'
import type { Member, ReportAnswer, ReportEntry, ReportRequest } from './messages.ts'
import type { Participation } from './participation.ts'
import type { Ranks } from './ranks.ts'
import { type Parcel, ReportOutbox } from './report-outbox.ts'
import type { SwarmOutcome } from './swarm.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'
import type { SwarmHandler, SwarmTransport } from './swarm-transport.ts'

export interface ReporterParts {
  readonly overlay: Overlay
  readonly transport: Pick<SwarmTransport, 'report'>
  readonly coordinator: Pick<SwarmHandler, 'handleReport'>
  readonly ranks: Ranks
  readonly health: CoordinatorHealth
  readonly options: SwarmOptions & SwarmTimings
  readonly member: () => Member
  /** What this node takes part in. */
  readonly participations: () => Iterable<Participation>
}

/** A lease is known to the next in rank as well, which can then take over without giving another one. */
const LEASE_COPIES = 2
const OUTCOME_RETRIES = 2
/** A question does not wait longer for a report, in milliseconds. */
const SETTLE_LIMIT = 300

/** Tells coordinators how this node's transfers go: about once a second, and at once when something happened. */
export class Reporter {
  readonly #parts: ReporterParts
  readonly #outboxes = new Map<string, ReportOutbox>()
  readonly #stopping = new AbortController()
  #open = 0
  #tick: NodeJS.Timeout | undefined
  #recheck: NodeJS.Timeout | undefined
  readonly counters = { sent: 0, failed: 0, recalls: 0 }

  constructor(parts: ReporterParts) {
    this.#parts = parts
  }

  start(): void {
    this.#tick = setInterval(() => this.#reportAll(), this.#parts.options.reportInterval).unref()
  }

  /** Sends what is still to be told, until the signal fires. */
  async stop({ signal }: { signal: AbortSignal }): Promise<void> {
    clearInterval(this.#tick)
    clearTimeout(this.#recheck)
    const onAbort = () => this.#stopping.abort(new Error('the swarm stops'))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    while (!this.#stopping.signal.aborted && !this.#isIdle) {
      await Promise.all([...this.#outboxes.values()].map((outbox) => outbox.flush()))
      await new Promise((resolve) => setImmediate(resolve))
    }
    signal.removeEventListener('abort', onAbort)
    onAbort()
    for (const outbox of this.#outboxes.values()) outbox.close()
    this.#outboxes.clear()
  }

  changed(participation: Participation): void {
    if (participation.isRunning) this.#report(participation, undefined)
  }

  ended(participation: Participation, outcome: SwarmOutcome): void {
    this.#report(participation, outcome)
  }

  /** What was told about an item has arrived, or has had its time: a question that follows cannot be overtaken by it. */
  async settled(item: string): Promise<void> {
    const open = [...this.#outboxes.values()].flatMap((outbox) => outbox.settled(item) ?? [])
    if (open.length === 0) return
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, SETTLE_LIMIT)
    await Promise.race([Promise.all(open), late])
    clearTimeout(timer)
  }

  /** Members came or went: whoever coordinates an item now hears of it soon. */
  membershipChanged(): void {
    const { reportDelay, jitter } = this.#parts.options
    this.#recheck ??= setTimeout(
      () => {
        this.#recheck = undefined
        for (const participation of this.#parts.participations()) void this.#reportIfMoved(participation)
      },
      reportDelay + Math.random() * jitter,
    ).unref()
  }

  get #isIdle(): boolean {
    return this.#open === 0 && [...this.#outboxes.values()].every((outbox) => outbox.isIdle)
  }

  #reportAll(): void {
    for (const participation of this.#parts.participations()) this.changed(participation)
    for (const [id, outbox] of this.#outboxes) if (outbox.isIdle) this.#outboxes.delete(id)
  }

  async #reportIfMoved(participation: Participation): Promise<void> {
    try {
      const nodes = await this.#parts.ranks.of(participation.name.key, this.#stopping.signal)
      if (nodes[0]?.id !== participation.coordinator) this.changed(participation)
    } catch {
      // The next round of reports finds out.
    }
  }

  #report(participation: Participation, outcome: SwarmOutcome | undefined): void {
    const entry = participation.entry(this.#parts.options.upstreamRate(participation.registry), outcome)
    void this.#dispatch({
      entry,
      participation,
      generation: participation.generation,
      copies: entry.lease === undefined ? 1 : LEASE_COPIES,
      // A late word that it was cancelled could meet the next transfer of the same item.
      retries: outcome === undefined || outcome.type === 'cancelled' ? 0 : OUTCOME_RETRIES,
    })
  }

  async #dispatch(parcel: Parcel): Promise<void> {
    const { ranks, options } = this.#parts
    this.#open++
    try {
      const { key } = parcel.entry
      const nodes =
        ranks.known(key) ??
        (await withDeadline(options.reportTimeout, 'finding who coordinates', this.#stopping.signal, (signal) =>
          ranks.of(key, signal),
        ))
      if (this.#stopping.signal.aborted) return
      parcel.participation.coordinator = nodes[0]?.id
      for (const peer of this.#addressees(nodes, parcel.copies)) this.#outbox(peer).put(parcel)
    } catch {
      // The next round of reports finds out.
    } finally {
      this.#open--
    }
  }

  /** The closest, and in the place of who failed a moment ago those that stand in. The failed ones too: only so it shows that one is back. */
  #addressees(nodes: readonly Peer[], copies: number): readonly Peer[] {
    let able = 0
    const last = nodes.findIndex((peer) => !this.#parts.health.isFailing(peer) && ++able === copies)
    return last < 0 ? nodes : nodes.slice(0, last + 1)
  }

  #outbox(peer: Peer): ReportOutbox {
    const known = this.#outboxes.get(peer.id)
    if (known !== undefined) return known
    const outbox = new ReportOutbox(peer, {
      delay: this.#parts.options.reportDelay,
      send: (peer, entries) => this.#send(peer, entries),
      answered: (parcel, answer) => this.#answered(parcel, answer),
      lost: (parcels, peer, error, began) => this.#lost(parcels, peer, error, began),
    })
    this.#outboxes.set(peer.id, outbox)
    return outbox
  }

  async #send(peer: Peer, entries: readonly ReportEntry[]): Promise<ReportAnswer> {
    const { overlay, coordinator, transport, health, options, member } = this.#parts
    const request: ReportRequest = { type: 'report', member: member(), entries }
    if (peer.id === overlay.self.id) return coordinator.handleReport(request)
    const began = performance.now()
    const answer = await withDeadline(options.reportTimeout, 'reporting', this.#stopping.signal, (signal) =>
      transport.report(peer, request, { signal }),
    )
    this.counters.sent++
    // One that is slow to take a report is no quicker to answer a question.
    if (performance.now() - began < options.hedgeDelay) health.recovered(peer)
    else health.heard(peer)
    return answer
  }

  #answered({ entry, participation, generation }: Parcel, answer: 'ok' | 'ask'): void {
    if (answer === 'ok' || entry.outcome !== undefined) return
    if (participation.generation !== generation || participation.asking > 0) return
    this.counters.recalls++
    participation.recall()
  }

  #lost(parcels: readonly Parcel[], peer: Peer, error: unknown, began: number): void {
    if (this.#stopping.signal.aborted) return
    this.counters.failed++
    const wasAble = !this.#parts.health.isFailing(peer)
    this.#parts.health.failed(peer, error, began)
    for (const parcel of parcels) {
      if (parcel.retries > 0) void this.#dispatch({ ...parcel, retries: parcel.retries - 1 })
      // The next in rank hears of it at once.
      else if (wasAble && parcel.entry.outcome === undefined) this.changed(parcel.participation)
    }
  }
}
