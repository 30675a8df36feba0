import { LRUCache } from 'lru-cache'

import { compareDistance, kadIdOf } from '../overlay/distance.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import { DeadlineError } from '../time/deadline.ts'
import { minute, second } from '../time/units.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'
import { TimeoutRuns } from './timeout-runs.ts'

type HealthOptions = Pick<SwarmOptions & SwarmTimings, 'kadId' | 'grace' | 'failureMemory' | 'standInAfter'>

const MAX_LOST = 64
const QUESTION_MEMORY = 1 * minute
/** Only a pause that comes so long after the last grace begins a new one: a node that is paused every second would never grant a lease. */
const GRACE_INTERVAL = 10 * second

/**
 * Which coordinators failed or went lately. Who takes their place does not know what they knew: for a moment it lets the transfers
 * under way report to it before it sends anybody upstream.
 */
export class CoordinatorHealth {
  readonly #overlay: Overlay
  readonly #options: HealthOptions
  readonly #health: PeerHealth
  /** When each was lost, by id. */
  readonly #lost = new LRUCache<string, number>({ max: MAX_LOST })
  /** Unanswered questions and reports. */
  readonly #messages: TimeoutRuns
  /** Unanswered questions alone: a coordinator may answer reports and no questions. */
  readonly #questions = new TimeoutRuns(QUESTION_MEMORY)
  #startedAt = Number.NEGATIVE_INFINITY

  constructor(overlay: Overlay, options: HealthOptions) {
    this.#overlay = overlay
    this.#options = options
    this.#health = new PeerHealth(options.failureMemory)
    this.#messages = new TimeoutRuns(options.failureMemory)
  }

  /** This node knows nothing yet. */
  started(): void {
    this.#startedAt = performance.now()
    this.#forgetTimeouts()
  }

  /** This process was not scheduled for a moment, and may lack reports. */
  paused(): void {
    if (performance.now() - this.#startedAt >= GRACE_INTERVAL) this.started()
    else this.#forgetTimeouts()
  }

  /** A question failed that was sent at `began`, of `performance.now()`; by a timeout if the error is a DeadlineError. */
  unanswered(peer: Peer, error: unknown, began: number): void {
    this.failed(peer, error, began)
    if (error instanceof DeadlineError) this.#questions.add(peer.id, began)
  }

  /** A report failed, or a question that this node called off: the same, except that it says nothing about questions. */
  failed(peer: Peer, error: unknown, began: number): void {
    if (!this.#health.isFailing(peer.id)) this.left(peer)
    this.#health.failed(peer.id)
    // A connection that fails is as good as an endless silence.
    this.#messages.add(peer.id, error instanceof DeadlineError ? began : Number.NEGATIVE_INFINITY)
  }

  /** It answered a question, but late. */
  wasSlow(peer: Peer): void {
    this.#health.failed(peer.id)
    this.#questions.end(peer.id)
    this.heard(peer)
  }

  /** It answered a question in time, or has only just come. */
  answered(peer: Peer): void {
    this.#questions.end(peer.id)
    this.recovered(peer)
  }

  /** It lives: it answered a report. */
  heard(peer: Peer): void {
    this.#messages.end(peer.id)
  }

  /** It answered a report in time. */
  recovered(peer: Peer): void {
    this.#health.recovered(peer.id)
    this.#lost.delete(peer.id)
    this.heard(peer)
  }

  /**
   * Whether a coordinator counts as dead. A slow coordinator has the only complete table, and a node that stands in for it too early sends a second
   * node upstream. So a coordinator has `standInAfter` to answer, unless its connections fail. A coordinator that answers reports and no questions
   * has twice that time. It is asked again after the same time, and that question shows whether it is back.
   */
  isDead(peer: Peer): boolean {
    const { standInAfter } = this.#options
    if (this.#messages.lengthOf(peer.id) >= standInAfter) return true
    const twice = 2 * standInAfter
    return this.#questions.lengthOf(peer.id) >= twice && this.#questions.ageOf(peer.id) < twice
  }

  isFailing(peer: Peer): boolean {
    return this.#health.isFailing(peer.id)
  }

  left(peer: Peer): void {
    this.#lost.set(peer.id, performance.now())
  }

  /** Whether this node, of that rank for the key, may still lack reports of transfers that go on. */
  isNew(key: IndexKey, rank: number): boolean {
    const since = performance.now() - this.#options.grace
    if (this.#startedAt > since && this.#overlay.peers().length > 0) return true
    if (this.#lost.size === 0) return false
    const closer = this.#lostCloser(key, since)
    // Rank 1 hears from every lease holder: while it only stands in it knows what there is to know.
    return closer > 1 || (closer > 0 && rank === 0)
  }

  /** What timed out while this process was paused says nothing. */
  #forgetTimeouts(): void {
    setImmediate(() => {
      this.#messages.clear()
      this.#questions.clear()
    })
  }

  #lostCloser(key: IndexKey, since: number): number {
    const { kadId } = this.#options
    const target = kadIdOf(Buffer.from(key, 'hex'))
    let count = 0
    for (const [id, at] of [...this.#lost.entries()]) {
      if (at < since) this.#lost.delete(id)
      else if (kadId === undefined || compareDistance(target, kadId(id), kadId(this.#overlay.self.id)) < 0) count++
    }
    return count
  }
}
