import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { type Repository, type TagReference, tagKey, repositoryKey } from '../../oci/reference.ts'
import type { KnownTag } from '../../store/content-store.ts'

const MAX_TAGS = 10_000

/** Recent answers of upstreams about tags: the freshness of tags in the store, and the tags of a requested digest. */
export class TagMemory {
  readonly #tags = new LRUCache<string, { reference: TagReference; known: KnownTag }>(atMost(MAX_TAGS))

  note(reference: TagReference, known: KnownTag): void {
    this.#tags.set(tagKey(reference), { reference, known })
  }

  /** The upstream's last answer for a tag; undefined if it is not remembered. */
  get(reference: TagReference): KnownTag | undefined {
    return this.#tags.get(tagKey(reference))?.known
  }

  /** The tags of a repository that name a digest. */
  tagsOf(repository: Repository, digest: Digest): readonly { reference: TagReference; asOf: number }[] {
    const found: { reference: TagReference; asOf: number }[] = []
    for (const { reference, known } of this.#tags.values()) {
      if (known.descriptor.digest === digest && repositoryKey(reference) === repositoryKey(repository)) {
        found.push({ reference, asOf: known.asOf })
      }
    }
    return found
  }
}
