import { LRUCache } from 'lru-cache'

/** Peers that failed lately. */
export class PeerHealth {
  readonly #failed: LRUCache<string, true>

  /** `memory` is in milliseconds. At more than `limit` peers the one that failed first is forgotten. */
  constructor(memory: number, limit = 10_000) {
    // Not `max`, which allocates all entries at once (0.6 MB): a node has several of these, nearly empty.
    this.#failed = new LRUCache({ maxSize: limit, sizeCalculation: () => 1, ttl: memory })
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
