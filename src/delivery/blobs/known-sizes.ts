import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'

const MAX_SIZES = 10_000
/** Of one manifest: no image has more layers, and one that lists more would only make the others forgotten. */
const MAX_CHILDREN = 256
/** Two manifests of a repository disagree, so that one of them lies. */
const DISPUTED = -1

/**
 * What the manifests of a repository say about the sizes of what they list: a growing file often does not know its own. Kept by repository,
 * since everybody may publish a manifest that lists the layers of others.
 */
export class KnownSizes {
  readonly #sizes = new LRUCache<string, number>({ max: MAX_SIZES })

  /** Notes what a verified manifest of a repository lists. */
  note(repository: Repository, children: readonly Descriptor[]): void {
    for (const { digest, size } of children.slice(0, MAX_CHILDREN)) {
      const key = keyOf(repository, digest)
      const known = this.#sizes.get(key) ?? size
      this.#sizes.set(key, known === size ? size : DISPUTED)
    }
  }

  /** In bytes, as far as it can be said before the content itself has been seen; undefined if it is not known. */
  of(repository: Repository, digest: Digest): number | undefined {
    const size = this.#sizes.get(keyOf(repository, digest))
    return size === DISPUTED ? undefined : size
  }
}

function keyOf(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`
}
