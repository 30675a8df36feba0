import { minute } from '../../time/units.ts'

/** Less says more about latency than about a link. */
const MIN_BYTES = 1024 * 1024
const MEMORY = 10 * minute
const MAX_REGISTRIES = 1_000
/** The weight of the last transfer. */
const WEIGHT = 0.5

/** How fast upstreams gave this node blobs lately. */
export class UpstreamRates {
  readonly #rates = new Map<string, { bytesPerSecond: number; until: number }>()

  /** A transfer from an upstream, or a part of one, is over. */
  note(registry: string, bytes: number, ms: number): void {
    if (bytes < MIN_BYTES || ms <= 0) return
    const rate = (bytes / ms) * 1000
    const known = this.of(registry)
    this.#rates.delete(registry)
    const bytesPerSecond = known === undefined ? rate : known + WEIGHT * (rate - known)
    this.#rates.set(registry, { bytesPerSecond, until: performance.now() + MEMORY })
    if (this.#rates.size > MAX_REGISTRIES) this.#rates.delete(this.#rates.keys().next().value ?? registry)
  }

  /** Bytes a second; undefined if nothing is known. */
  of(registry: string): number | undefined {
    const known = this.#rates.get(registry)
    return known !== undefined && known.until > performance.now() ? known.bytesPerSecond : undefined
  }
}
