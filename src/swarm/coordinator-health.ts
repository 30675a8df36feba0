import { LRUCache } from 'lru-cache'

import { compareDistance, kadIdOf } from '../overlay/distance.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'

type HealthOptions = Pick<SwarmOptions & SwarmTimings, 'kadId' | 'grace' | 'failureMemory'>

const MAX_LOST = 64

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
  #startedAt = Number.NEGATIVE_INFINITY

  constructor(overlay: Overlay, options: HealthOptions) {
    this.#overlay = overlay
    this.#options = options
    this.#health = new PeerHealth(options.failureMemory)
  }

  /** This node knows nothing yet. */
  started(): void {
    this.#startedAt = performance.now()
  }

  failed(peer: Peer): void {
    if (!this.#health.isFailing(peer.id)) this.left(peer)
    this.#health.failed(peer.id)
  }

  recovered(peer: Peer): void {
    this.#health.recovered(peer.id)
    this.#lost.delete(peer.id)
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
