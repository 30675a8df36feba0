import { LRUCache } from 'lru-cache'

import type { Digest } from '../../oci/digest.ts'
import type { ToldMediaType } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { DeliveredManifest, HeldManifest } from './delivered-manifest.ts'

const MAX_MANIFESTS = 64
const MAX_BYTES = 16 * 1024 * 1024
/** Per manifest: those that named it last. */
const MAX_REPOSITORIES = 16

interface Remembered {
  readonly bytes: Uint8Array
  /** By repository, the last one last. */
  readonly types: ReadonlyMap<string, ToldMediaType>
}

export interface RememberedManifest extends HeldManifest {
  /** The media type of the manifest in another repository; undefined if it is remembered for this one. */
  readonly hint: ToldMediaType | undefined
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

  put(
    repository: Repository,
    { descriptor, bytes, isRegistrys }: Pick<DeliveredManifest, 'descriptor' | 'bytes' | 'isRegistrys'>,
  ): void {
    const { digest, mediaType } = descriptor
    const types = new Map(this.#manifests.get(digest)?.types)
    const key = repositoryKey(repository)
    const known = types.get(key)
    types.delete(key)
    types.set(key, known?.isRegistrys === true && !isRegistrys ? known : { mediaType, isRegistrys })
    const [oldest] = types.keys()
    if (types.size > MAX_REPOSITORIES && oldest !== undefined) types.delete(oldest)
    this.#manifests.set(digest, { bytes, types })
  }

  has(digest: Digest): boolean {
    return this.#manifests.has(digest)
  }

  get(repository: Repository, digest: Digest): RememberedManifest | undefined {
    const found = this.#manifests.get(digest)
    if (found === undefined) return undefined
    const { bytes, types } = found
    const told = types.get(repositoryKey(repository))
    const other = told === undefined ? [...types.values()].at(-1) : undefined
    return { bytes, told, hint: other && { ...other, isRegistrys: false } }
  }
}
