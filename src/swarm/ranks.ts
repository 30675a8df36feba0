import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'

const MAX_KEYS = 4_096

/** Who coordinates a key: the nodes closest to it, nearest first, and as many more to stand in for them. Remembered for some seconds. */
export class Ranks {
  readonly #overlay: Overlay
  readonly #options: Pick<SwarmOptions & SwarmTimings, 'replicas' | 'ranksMemory'>
  readonly #known: LRUCache<IndexKey, readonly Peer[]>
  /** Counts the changes of the membership. */
  #generation = 0

  constructor(overlay: Overlay, options: Pick<SwarmOptions & SwarmTimings, 'replicas' | 'ranksMemory'>) {
    this.#overlay = overlay
    this.#options = options
    this.#known = new LRUCache({ ...atMost(MAX_KEYS), ttl: options.ranksMemory })
  }

  /** Rejects with the signal, or if the overlay cannot tell. */
  async of(key: IndexKey, signal: AbortSignal): Promise<readonly Peer[]> {
    const known = this.known(key)
    if (known !== undefined) return known
    const generation = this.#generation
    const nodes = await this.#overlay.closest(key, 2 * this.#options.replicas, { signal })
    // Members may have come and gone meanwhile: then this answer is used once.
    if (generation === this.#generation) this.#known.set(key, nodes)
    return nodes
  }

  known(key: IndexKey): readonly Peer[] | undefined {
    return this.#known.get(key)
  }

  /** This node's place among those that coordinate a key; `replicas` if it is none of them. */
  rankIn(nodes: readonly Peer[]): number {
    const at = nodes.findIndex((peer) => peer.id === this.#overlay.self.id)
    return at < 0 ? this.#options.replicas : Math.min(at, this.#options.replicas)
  }

  /** A member came or went. */
  clear(): void {
    this.#generation += 1
    this.#known.clear()
  }
}
