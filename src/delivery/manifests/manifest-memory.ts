import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'

const MAX_MANIFESTS = 64
const MAX_BYTES = 16 * 1024 * 1024

/**
 * Verified manifests that passed by lately, least recently used out first: containerd commits one a moment after it was sent, other clients
 * never, and the neighbours ask at once.
 */
export class ManifestMemory {
  readonly #manifests: LRUCache<Digest, Uint8Array>

  /** `life` in milliseconds. */
  constructor(life: number) {
    this.#manifests = new LRUCache({
      max: MAX_MANIFESTS,
      maxSize: MAX_BYTES,
      // An entry must not have the size 0.
      sizeCalculation: (bytes) => Math.max(bytes.length, 1),
      ttl: life,
    })
  }

  put(digest: Digest, bytes: Uint8Array): void {
    this.#manifests.set(digest, bytes)
  }

  get(digest: Digest): Uint8Array | undefined {
    return this.#manifests.get(digest)
  }
}
