import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { type ToldMediaType, parseManifest } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { type Catalog, parentsIn } from './catalog.ts'

const MAX_CHILD_TYPES = 1000

/** The media types of manifests: of the image that names a manifest, else of an index of its repository that lists it. */
export class ManifestTypes {
  readonly #readManifest: (digest: Digest) => Promise<Uint8Array | undefined>
  /** What indexes have told, by repository and digest: an index is read once for a manifest that is served often. */
  readonly #childTypes = new LRUCache<string, string>(atMost(MAX_CHILD_TYPES))

  /** `readManifest` gives verified bytes, or undefined for what is not held. */
  constructor(readManifest: (digest: Digest) => Promise<Uint8Array | undefined>) {
    this.#readManifest = readManifest
  }

  async of(digest: Digest, repository: Repository, catalog: Catalog): Promise<ToldMediaType | undefined> {
    // An image may outlive its content.
    if (!catalog.blobs.has(digest)) return undefined
    const ofImage = catalog.types.ofImage(digest, repository)
    if (ofImage?.isRegistrys === true) return ofImage
    const key = `${repositoryKey(repository)}@${digest}`
    const mediaType = this.#childTypes.get(key) ?? (await this.#typeInParent(digest, repository, catalog))
    if (mediaType === undefined) return ofImage
    this.#childTypes.set(key, mediaType)
    return { mediaType, isRegistrys: false }
  }

  async #typeInParent(digest: Digest, repository: Repository, catalog: Catalog): Promise<string | undefined> {
    for (const parent of parentsIn(catalog, digest, repository)) {
      const bytes = await this.#readManifest(parent)
      const child = bytes && parseManifest(bytes)?.children.find((child) => child.digest === digest)
      if (child !== undefined) return child.mediaType
    }
    return undefined
  }
}
