import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { DeliveredManifest, HeldManifest } from './delivered-manifest.ts'

const MAX_MANIFESTS = 64
const MAX_BYTES = 16 * 1024 * 1024

interface Remembered {
  readonly bytes: Uint8Array
  readonly mediaType: string
  /** The repository that the media type is true of. */
  readonly repository: string
}

/**
 * Verified manifests that passed by lately, least recently used out first: containerd commits one a moment after it was sent, other clients
 * never, and the neighbours ask at once.
 */
export class ManifestMemory {
  readonly #manifests: LRUCache<Digest, Remembered>

  /** `life` in milliseconds. */
  constructor(life: number) {
    this.#manifests = new LRUCache({
      max: MAX_MANIFESTS,
      maxSize: MAX_BYTES,
      // An entry must not have the size 0.
      sizeCalculation: ({ bytes }) => Math.max(bytes.length, 1),
      ttl: life,
    })
  }

  put(repository: Repository, { descriptor, bytes }: Pick<DeliveredManifest, 'descriptor' | 'bytes'>): void {
    const { digest, mediaType } = descriptor
    this.#manifests.set(digest, { bytes, mediaType, repository: repositoryKey(repository) })
  }

  has(digest: Digest): boolean {
    return this.#manifests.has(digest)
  }

  get(repository: Repository, digest: Digest): HeldManifest | undefined {
    const found = this.#manifests.get(digest)
    if (found === undefined) return undefined
    const { bytes, mediaType } = found
    return { bytes, told: { mediaType, isRegistrys: found.repository === repositoryKey(repository) } }
  }
}
