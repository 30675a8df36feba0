import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { minute } from '../../time/units.ts'

/** A smaller transfer measures latency rather than a link. */
const MIN_BYTES = 1024 * 1024
const MEMORY = 10 * minute
const MAX_REGISTRIES = 1_000
/** The weight of the last transfer. */
const WEIGHT = 0.5

/** How fast upstreams gave this node blobs lately, in bytes per second by registry. */
export class UpstreamRates {
  readonly #rates = new LRUCache<string, number>({ ...atMost(MAX_REGISTRIES), ttl: MEMORY })

  /** A transfer from an upstream, or a part of one, is over. */
  note(registry: string, bytes: number, ms: number): void {
    if (bytes < MIN_BYTES || ms <= 0) return
    const rate = (bytes / ms) * 1000
    const known = this.of(registry)
    this.#rates.set(registry, known === undefined ? rate : known + WEIGHT * (rate - known))
  }

  /** Bytes a second; undefined if nothing is known. */
  of(registry: string): number | undefined {
    return this.#rates.get(registry)
  }
}
