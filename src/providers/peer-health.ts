import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
/** Peers that failed lately. */
export class PeerHealth {
  readonly #failed: LRUCache<string, true>

  /** `memory` is in milliseconds. At more than `limit` peers the one that failed first is forgotten. */
  constructor(memory: number, limit = 10_000) {
    this.#failed = new LRUCache({ ...atMost(limit), ttl: memory })
  }

  failed(id: string): void {
    this.#failed.set(id, true)
  }

  recovered(id: string): void {
    this.#failed.delete(id)
  }

  isFailing(id: string): boolean {
    return this.#failed.has(id)
  }
}
