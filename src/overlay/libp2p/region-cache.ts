import type { KadId } from '../distance.ts'
import { second } from '../../time/units.ts'

/** How long the nodes of a region are taken to be the same. */
const LIFETIME_MS = 10 * second

/** 1,024 regions: in a cluster of a few thousand nodes a region holds few, so that its answer fits all its keys. */
const REGION_BITS = 10

/** Remembers, for some seconds, which nodes a lookup found near a key, for all keys of that region. */
export class RegionCache<T> {
  readonly #regions = new Map<number, { readonly nodes: Promise<readonly T[]>; readonly until: number }>()

  /** The nodes of `target`'s region: remembered ones, a lookup that is under way, or a new lookup. Failures are not kept. */
  get(target: KadId, now: number, look: () => Promise<readonly T[]>): Promise<readonly T[]> {
    const region = (((target[0] ?? 0) << 8) | (target[1] ?? 0)) >> (16 - REGION_BITS)
    const known = this.#regions.get(region)
    if (known !== undefined && now < known.until) return known.nodes
    const entry = { nodes: look(), until: now + LIFETIME_MS }
    this.#regions.set(region, entry)
    entry.nodes.catch(() => {
      if (this.#regions.get(region) === entry) this.#regions.delete(region)
    })
    return entry.nodes
  }
}
