import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ChildDescriptor } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'

const MAX_SIZES = 10_000
/** Per manifest: no image has more layers, and a longer list would only evict the sizes of other images. */
const MAX_CHILDREN = 256
/** Two manifests of a repository give different sizes: at least one is wrong. */
const DISPUTED = -1

/**
 * Sizes that manifests declare for their children: a growing file often does not know its own size. Keyed by repository, since anyone
 * can publish a manifest that lists the layers of another repository.
 */
export class KnownSizes {
  readonly #sizes = new LRUCache<string, number>(atMost(MAX_SIZES))

  /** Notes the sizes that a verified manifest of a repository declares. */
  note(repository: Repository, children: readonly ChildDescriptor[]): void {
    for (const { digest, size } of children.slice(0, MAX_CHILDREN)) {
      if (size === undefined) continue
      const key = keyOf(repository, digest)
      const known = this.#sizes.get(key) ?? size
      this.#sizes.set(key, known === size ? size : DISPUTED)
    }
  }

  /** Declared size in bytes, not checked against the content; undefined if unknown or if manifests disagree. */
  of(repository: Repository, digest: Digest): number | undefined {
    const size = this.#sizes.get(keyOf(repository, digest))
    return size === DISPUTED ? undefined : size
  }
}

function keyOf(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`
}
