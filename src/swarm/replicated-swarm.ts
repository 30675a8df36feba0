import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import type { Overlay, OverlayEvent } from '../overlay/overlay.ts'
import { AttendedClock } from '../time/attended-clock.ts'
import { Coordinator } from './coordinator.ts'
import { CoordinatorHealth } from './coordinator-health.ts'
import type { JoinAnswer, JoinRequest, Member, ReportAnswer, ReportRequest } from './messages.ts'
import { FAILURE_TTL } from './limits.ts'
import { Participation } from './participation.ts'
import { RankAsker } from './rank-asker.ts'
import { Ranks } from './ranks.ts'
import { Reporter } from './reporter.ts'
import { SharedMembership } from './shared-membership.ts'
import type { Membership, Swarm, SwarmItem } from './swarm.ts'
import { type ItemName, nameItem } from './swarm-item.ts'
import { SWARM_TIMINGS, type SwarmOptions, type SwarmTimings } from './swarm-options.ts'
import { SwarmTable, type SwarmTableStats } from './swarm-table.ts'
import type { SwarmHandler, SwarmTransport } from './swarm-transport.ts'

/** What this node coordinates, and what it takes part in. All but the first four and `participations` count since the start. */
export interface SwarmStats extends SwarmTableStats {
  /** Things that this node fetches now. */
  readonly participations: number
  readonly questions: number
  /** Questions that nobody answered in time. */
  readonly unanswered: number
  /** Others' questions that were passed on to a closer node. */
  readonly forwarded: number
  readonly reportsSent: number
  readonly reportsFailed: number
  /** Times that a transfer was told to ask again. */
  readonly recalls: number
}

const MAX_PREPARED = 256
const MAX_OWN_FAILURES = 1_000
const EXPIRE_INTERVAL = 1_000

/**
 * The swarm kept by its members: the node XOR-closest to an item's key decides, the next ones stand in for it. Hand it to whatever
 * answers the other members' `SwarmTransport`.
 */
export class ReplicatedSwarm implements Swarm, SwarmHandler {
  readonly #overlay: Overlay
  readonly #options: SwarmOptions & SwarmTimings
  /** What was told while this process was paused may not have arrived: another node may have been sent upstream by now. */
  readonly #clock = new AttendedClock({ onPause: () => this.#health.paused() })
  readonly #table: SwarmTable
  readonly #ranks: Ranks
  readonly #health: CoordinatorHealth
  readonly #coordinator: Coordinator
  readonly #asker: RankAsker
  readonly #reporter: Reporter
  readonly #participations = new Map<string, Participation>()
  /** The texts of the failures that this node has reported, by item, for as long as coordinators repeat them. */
  readonly #ownFailures = new LRUCache<string, string>({ ...atMost(MAX_OWN_FAILURES), ttl: 2 * FAILURE_TTL })
  readonly #stopping = new AbortController()
  readonly #counters = { questions: 0, unanswered: 0 }
  #isAlone = true
  #unsubscribe: (() => void) | undefined
  #expiry: NodeJS.Timeout | undefined

  constructor(overlay: Overlay, transport: SwarmTransport, options: SwarmOptions & Partial<SwarmTimings>) {
    this.#overlay = overlay
    this.#options = { ...SWARM_TIMINGS, ...options }
    this.#table = new SwarmTable({
      treeChildren: options.treeChildren,
      now: options.now ?? this.#clock.now,
    })
    this.#ranks = new Ranks(overlay, this.#options)
    this.#health = new CoordinatorHealth(overlay, this.#options)
    const parts = {
      table: this.#table,
      transport,
      ranks: this.#ranks,
      health: this.#health,
      options: this.#options,
    }
    this.#coordinator = new Coordinator(parts)
    this.#asker = new RankAsker(overlay, this.#coordinator, parts)
    this.#reporter = new Reporter({
      ...parts,
      overlay,
      coordinator: this.#coordinator,
      member: () => this.#member(),
      participations: () => this.#participations.values(),
    })
  }

  async start(): Promise<void> {
    this.#health.started()
    this.#isAlone = this.#overlay.peers().length === 0
    this.#unsubscribe = this.#overlay.subscribe((event) => this.#membership(event))
    this.#reporter.start()
    this.#expiry = setInterval(() => this.#table.expire(), EXPIRE_INTERVAL).unref()
  }

  /** Open questions are answered with `alone`. Tells the others that this node's transfers are over, until the signal fires. */
  async stop(options: { signal: AbortSignal }): Promise<void> {
    this.#unsubscribe?.()
    clearInterval(this.#expiry)
    this.#clock.stop()
    this.#stopping.abort(new Error('the swarm stops'))
    this.#coordinator.stop()
    for (const participation of this.#participations.values())
      this.#reporter.ended(participation, { type: 'cancelled' })
    this.#participations.clear()
    await this.#reporter.stop(options)
  }

  enter(item: SwarmItem): Membership {
    const name = nameItem(item)
    const { registry } = item.repository
    return new SharedMembership({
      member: () => this.#member(),
      now: this.#options.now ?? this.#clock.now,
      upstreamRate: this.#options.upstreamRate,
      ask: (request, options) => this.#ask(request, options),
      participation: () => this.#participation(name, registry),
      changed: (participation) => {
        if (!this.#stopping.signal.aborted) this.#reporter.changed(participation)
      },
      ended: (participation, outcome) => {
        const isForItself = outcome.type === 'resolved' && this.#isByItself
        if (outcome.type === 'failed') this.#ownFailures.set(name.item, outcome.failure.message)
        if (!this.#stopping.signal.aborted && !isForItself) this.#reporter.ended(participation, outcome)
      },
      // The coordinator may have cut the text.
      isOwnFailure: ({ message }) => this.#ownFailures.get(name.item)?.startsWith(message) === true,
      released: (participation) => this.#release(participation),
    })
  }

  prepare(items: Iterable<SwarmItem>): void {
    let count = 0
    for (const item of items) {
      if (++count > MAX_PREPARED) return
      void this.#ranks.of(nameItem(item).key, this.#stopping.signal).catch(() => {})
    }
  }

  handleJoin(request: JoinRequest, options: { signal: AbortSignal }): Promise<JoinAnswer> {
    return this.#coordinator.handleJoin(request, options)
  }

  handleReport(request: ReportRequest): ReportAnswer {
    return this.#coordinator.handleReport(request)
  }

  /** Forgets the transfers of a node that another one has replaced at its address. */
  forget(peerId: string): void {
    if (!this.#overlay.peers().some(({ id }) => id === peerId)) this.#table.drop(peerId)
  }

  stats(): SwarmStats {
    const { sent, failed, recalls } = this.#reporter.counters
    return {
      ...this.#table.stats(),
      ...this.#counters,
      participations: this.#participations.size,
      forwarded: this.#coordinator.forwarded,
      reportsSent: sent,
      reportsFailed: failed,
      recalls,
    }
  }

  async #ask(request: JoinRequest, { signal }: { signal: AbortSignal }) {
    if (request.kind === 'tag' && this.#isByItself) return undefined
    this.#counters.questions++
    const ended = new AbortController()
    const end = () => ended.abort()
    signal.addEventListener('abort', end, { once: true })
    this.#stopping.signal.addEventListener('abort', end, { once: true })
    if (this.#stopping.signal.aborted) end()
    try {
      await this.#reporter.settled(request.item)
      const answer = await this.#asker.ask(request, { signal: ended.signal })
      if (answer === undefined) this.#counters.unanswered++
      return answer
    } catch (error) {
      signal.throwIfAborted()
      if (!this.#stopping.signal.aborted) throw error
      return undefined
    } finally {
      signal.removeEventListener('abort', end)
      this.#stopping.signal.removeEventListener('abort', end)
    }
  }

  #participation(name: ItemName, registry: string): Participation {
    const known = this.#participations.get(name.item) ?? new Participation(name, registry)
    this.#participations.set(name.item, known)
    return known
  }

  #release(participation: Participation): void {
    const { item } = participation.name
    if (participation.transfers.size > 0 || participation.asking > 0) return
    if (this.#participations.get(item) === participation) this.#participations.delete(item)
  }

  #membership(event: OverlayEvent): void {
    this.#ranks.clear()
    if (event.type === 'left') {
      this.#health.left(event.peer)
      this.#table.drop(event.peer.id)
    } else {
      this.#health.answered(event.peer)
      // Whom it coordinates for from now on has told somebody else so far.
      if (this.#isAlone) this.#health.started()
    }
    this.#isAlone = this.#overlay.peers().length === 0
    this.#reporter.membershipChanged()
  }

  /** Then it asks for itself: whoever pushes and pulls a tag on one machine wants the new one. */
  get #isByItself(): boolean {
    return this.#overlay.peers().length === 0
  }

  #member(): Member {
    const { id, address } = this.#overlay.self
    return { id, address, remoteAddress: '', zone: this.#options.zone, ...this.#options.load() }
  }
}
