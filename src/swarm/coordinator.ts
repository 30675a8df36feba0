import type { Peer } from '../overlay/overlay.ts'
import { withDeadline } from '../time/deadline.ts'
import type { CoordinatorHealth } from './coordinator-health.ts'
import type { JoinAnswer, JoinRequest, ReportAnswer, ReportRequest } from './messages.ts'
import type { Ranks } from './ranks.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'
import type { SwarmTable } from './swarm-table.ts'
import { type SwarmHandler, type SwarmTransport, ForwardRefusedError } from './swarm-transport.ts'
import { Waiters } from './waiters.ts'

export interface CoordinatorParts {
  readonly table: SwarmTable
  readonly transport: Pick<SwarmTransport, 'join'>
  readonly ranks: Ranks
  readonly health: CoordinatorHealth
  readonly options: SwarmOptions & SwarmTimings
}

/** A follower's pause after its question was kept open as long as it may be, in milliseconds. */
const HELD_PAUSE = 10
const GRACE_PAUSE = 150
const MAX_WAITERS = 1_000

/** Answers for the items whose keys this node is closest to, and stands in for the nodes that are closer. */
export class Coordinator implements SwarmHandler {
  readonly #parts: CoordinatorParts
  readonly #waiters = new Waiters(MAX_WAITERS)
  readonly #stopping = new AbortController()
  forwarded = 0

  constructor(parts: CoordinatorParts) {
    this.#parts = parts
  }

  /** Lets go of the questions that are kept open. */
  stop(): void {
    this.#stopping.abort()
    this.#waiters.wakeAll()
  }

  async handleJoin(request: JoinRequest, { signal }: { signal: AbortSignal }): Promise<JoinAnswer> {
    const { ranks, options } = this.#parts
    let nodes: readonly Peer[] = []
    try {
      nodes = await withDeadline(options.forwardTimeout, 'finding who coordinates', signal, (signal) =>
        ranks.of(request.key, signal),
      )
    } catch {
      signal.throwIfAborted()
    }
    const rank = ranks.rankIn(nodes)
    const head = nodes[0]
    if (rank > 0 && head !== undefined && !request.forwarded) {
      const answer = await this.#forward(head, request, signal)
      if (answer !== undefined) return answer
    }
    return this.decide(request, rank, { signal })
  }

  handleReport(request: ReportRequest): ReportAnswer {
    const { ranks, table } = this.#parts
    return request.entries.map((entry) => {
      const nodes = ranks.known(entry.key)
      // A report comes to who coordinates. Where it is not known whether this node does, it finds out for the next one.
      if (nodes === undefined) void ranks.of(entry.key, this.#stopping.signal).catch(() => {})
      const isNews = entry.outcome !== undefined || !table.has(entry.item)
      const [answer = 'ok'] = table.report(
        { ...request, entries: [entry] },
        nodes === undefined ? 0 : ranks.rankIn(nodes),
      )
      if (isNews) this.#waiters.wake(entry.item)
      return answer
    })
  }

  /** Answers from this node's own table. Kept open for a moment while there is nothing to say. Rejects with the signal only. */
  async decide(request: JoinRequest, rank: number, { signal }: { signal: AbortSignal }): Promise<JoinAnswer> {
    const { hold, forwardedHold } = this.#parts.options
    const until = performance.now() + (request.forwarded ? forwardedHold : hold)
    for (;;) {
      const answer = this.#answer(request, rank)
      if (answer.type !== 'wait' || this.#waiters.isFull || this.#stopping.signal.aborted) return answer
      const left = until - performance.now()
      if (left <= 0) return { type: 'wait', ms: HELD_PAUSE }
      await this.#waiters.wait(request.item, Math.min(Math.max(answer.ms, 1), left), signal)
    }
  }

  #answer(request: JoinRequest, rank: number): JoinAnswer {
    const { table, health, options } = this.#parts
    if (!table.has(request.item) && request.lease === undefined && health.isNew(request.key, rank))
      return { type: 'wait', ms: GRACE_PAUSE }
    const holders = options.holders(request.key)
    const { answer, disproved } = table.join(request, holders, rank, { mayGrant: this.#mayGrant(request, rank) })
    for (const id of disproved) {
      const holder = holders.find((peer) => peer.id === id)
      if (holder !== undefined) options.disprove(request.key, holder)
    }
    return answer
  }

  /** Not in the place of a closer node that is slow: it may have sent another node upstream. */
  #mayGrant({ kind, key, left }: JoinRequest, rank: number): boolean {
    const { ranks, health } = this.#parts
    const closer = ranks.known(key)?.slice(0, rank) ?? []
    if (kind !== 'blob' || closer.length === 0) return true
    // A source that is slow gets or has the blob, whatever this table knows.
    return closer.every((peer) => health.isDead(peer)) && !left.some(({ reason }) => reason === 'stalled')
  }

  async #forward(head: Peer, request: JoinRequest, signal: AbortSignal): Promise<JoinAnswer | undefined> {
    const { transport, health, options } = this.#parts
    if (head.id === request.member.id || health.isDead(head)) return undefined
    const began = performance.now()
    try {
      const answer = await withDeadline(options.forwardTimeout, 'passing a question on', signal, (signal) =>
        transport.join(head, { ...request, forwarded: true }, { signal }),
      )
      health.answered(head)
      this.forwarded++
      return answer
    } catch (error) {
      signal.throwIfAborted()
      // The fault is the member's: one with a false signature must not make this node do without the coordinator.
      if (!(error instanceof ForwardRefusedError)) health.unanswered(head, error, began)
      return undefined
    }
  }
}
