import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { compareDistance, kadIdOf } from '../overlay/distance.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import { DeadlineError } from '../time/deadline.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'

type HealthOptions = Pick<SwarmOptions & SwarmTimings, 'kadId' | 'grace' | 'failureMemory' | 'standInAfter'>

/** When a coordinator let the first and the last of some questions in a row time out, of `performance.now()`. */
interface Silence {
  readonly first: number
  readonly last: number
}

const MAX_LOST = 64
const MAX_SILENT = 1_000

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
  readonly #silences: LRUCache<string, Silence>
  #startedAt = Number.NEGATIVE_INFINITY

  constructor(overlay: Overlay, options: HealthOptions) {
    this.#overlay = overlay
    this.#options = options
    this.#health = new PeerHealth(options.failureMemory)
    this.#silences = new LRUCache({ ...atMost(MAX_SILENT), ttl: options.failureMemory })
  }

  /** This node knows nothing yet. */
  started(): void {
    this.#startedAt = performance.now()
    // What timed out while this process was paused says nothing.
    setImmediate(() => this.#silences.clear())
  }

  /** A question or a report failed that was sent at `began`, of `performance.now()`; by a timeout if the error is a DeadlineError. */
  failed(peer: Peer, error: unknown, began: number): void {
    if (!this.#health.isFailing(peer.id)) this.left(peer)
    this.#health.failed(peer.id)
    const last = performance.now()
    const first =
      error instanceof DeadlineError ? (this.#silences.get(peer.id)?.first ?? began) : Number.NEGATIVE_INFINITY
    this.#silences.set(peer.id, { first, last })
  }

  /** It answered a question, but late. */
  wasSlow(peer: Peer): void {
    this.#health.failed(peer.id)
    this.heard(peer)
  }

  /** It lives. */
  heard(peer: Peer): void {
    this.#silences.delete(peer.id)
  }

  recovered(peer: Peer): void {
    this.#health.recovered(peer.id)
    this.#lost.delete(peer.id)
    this.heard(peer)
  }

  /**
   * Whether it counts as dead. One that is slow has the only table that is complete: a node that stands in for it too early sends a second node
   * upstream. So it has some time to answer, unless its connections fail.
   */
  isDead(peer: Peer): boolean {
    const silence = this.#silences.get(peer.id)
    return silence !== undefined && silence.last - silence.first >= this.#options.standInAfter
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
