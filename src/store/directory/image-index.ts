import { z } from 'zod'

import { type Digest, parseDigest } from '../../oci/digest.ts'
import {
  type Descriptor,
  MEDIA_TYPES,
  parseManifestType,
  type ToldMediaType,
  UNKNOWN_MEDIA_TYPE,
} from '../../oci/manifest.ts'
import {
  parseImageReference,
  parseRepositoryKey,
  type Repository,
  repositoryKey,
  tagKey,
  type TagReference,
} from '../../oci/reference.ts'
import type { ManifestOrigin } from '../cache-store.ts'

/** A manifest as a repository names it, with a tag or without. */
export interface IndexEntry {
  readonly descriptor: Descriptor
  readonly repository: Repository
  readonly isPublic: boolean
  /** True if the media type is a hint, and not the word of the repository's registry. */
  readonly isHint: boolean
  readonly tag: string | undefined
  /** Milliseconds since the epoch; 0 without a tag. */
  readonly asOf: number
}

const REF_NAME = 'org.opencontainers.image.ref.name'
const REPOSITORY = 'dev.nabo.repository'
const AS_OF = 'dev.nabo.as-of'
const PUBLIC = 'dev.nabo.public'
/** `hint` where the media type is not the registry's word; absent otherwise. */
const MEDIA_TYPE_FROM = 'dev.nabo.media-type-from'

const documentSchema = z.object({ schemaVersion: z.literal(2), manifests: z.array(z.unknown()) })
const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: z.string(),
  size: z.number().int().nonnegative(),
  annotations: z.record(z.string(), z.string()).default({}),
})

/** The manifests that a cache knows the origin of: what `index.json` says. */
export class ImageIndex {
  readonly #entries = new Map<string, IndexEntry>()
  readonly #byDigest = new Map<Digest, Set<string>>()
  readonly #byTag = new Map<string, IndexEntry>()

  /** Keeps an origin. Returns the tag if it was not known before. */
  put({ descriptor, repository, isPublic, isHint = false, tag }: ManifestOrigin): TagReference | undefined {
    const base = { descriptor, repository, isPublic, isHint }
    if (tag === undefined) {
      this.#set({ ...base, tag: undefined, asOf: 0 })
      return undefined
    }
    const entry: IndexEntry = { ...base, repository: tag.reference, tag: tag.reference.tag, asOf: tag.asOf }
    const known = this.#byTag.get(tagKey(tag.reference))
    if (known !== undefined && known.descriptor.digest !== descriptor.digest) {
      // The tag has moved. Both manifests stay under the repository, and what was said last has the tag.
      const [later, earlier] = known.asOf > entry.asOf ? [known, entry] : [entry, known]
      this.#drop(known)
      this.#set({ ...earlier, tag: undefined, asOf: 0 })
      this.#set(later)
    } else {
      this.#set({ ...entry, asOf: Math.max(entry.asOf, known?.asOf ?? 0) })
    }
    return known === undefined ? tag.reference : undefined
  }

  /** Forgets a manifest. Returns the tags that named it. */
  delete(digest: Digest): TagReference[] {
    const entries = this.of(digest)
    for (const entry of entries) this.#drop(entry)
    return entries.flatMap((entry) => tagOf(entry) ?? [])
  }

  of(digest: Digest): IndexEntry[] {
    return [...(this.#byDigest.get(digest) ?? [])].flatMap((key) => this.#entries.get(key) ?? [])
  }

  ofRepository(repository: Repository): Digest[] {
    const key = repositoryKey(repository)
    const entries = this.#entries.values().filter((entry) => repositoryKey(entry.repository) === key)
    return [...new Set(entries.map(({ descriptor }) => descriptor.digest))]
  }

  /** As the repository's registry told it, else a hint for this repository, else the word about another one. */
  mediaType(digest: Digest, repository: Repository): ToldMediaType | undefined {
    const key = repositoryKey(repository)
    let own: ToldMediaType | undefined
    let other: ToldMediaType | undefined
    for (const entry of this.of(digest)) {
      const { mediaType } = entry.descriptor
      // Written where nothing told a type.
      if (mediaType === UNKNOWN_MEDIA_TYPE) continue
      const isOwn = repositoryKey(entry.repository) === key
      if (isOwn && !entry.isHint) return { mediaType, isRegistrys: true }
      if (isOwn) own = { mediaType, isRegistrys: false }
      else other = { mediaType, isRegistrys: false }
    }
    return own ?? other
  }

  resolve(tag: TagReference): IndexEntry | undefined {
    return this.#byTag.get(tagKey(tag))
  }

  entries(): IteratorObject<IndexEntry> {
    return this.#entries.values()
  }

  toJson(): string {
    const manifests = [...this.#entries.values()].map(toDescriptor)
    return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })
  }

  #set(entry: IndexEntry): void {
    const key = keyOf(entry)
    // Had once without credentials, public for good: the bytes are the same.
    const known = this.#entries.get(key)
    const isPublic = entry.isPublic || known?.isPublic === true
    // A hint does not replace the registry's word.
    const isTold = known !== undefined && known.descriptor.mediaType !== UNKNOWN_MEDIA_TYPE
    const told = entry.isHint && isTold && !known.isHint ? known : entry
    const merged = { ...entry, isPublic, descriptor: told.descriptor, isHint: told.isHint }
    this.#entries.set(key, merged)
    const keys = this.#byDigest.get(entry.descriptor.digest) ?? new Set()
    this.#byDigest.set(entry.descriptor.digest, keys.add(key))
    const tag = tagOf(entry)
    if (tag !== undefined) this.#byTag.set(tagKey(tag), merged)
  }

  #drop(entry: IndexEntry): void {
    const key = keyOf(entry)
    this.#entries.delete(key)
    const keys = this.#byDigest.get(entry.descriptor.digest)
    keys?.delete(key)
    if (keys?.size === 0) this.#byDigest.delete(entry.descriptor.digest)
    const tag = tagOf(entry)
    if (tag !== undefined) this.#byTag.delete(tagKey(tag))
  }
}

/** Reads an `index.json`; undefined if it is not one. Descriptors whose origin it does not tell are left out. */
export function parseIndex(text: string): ManifestOrigin[] | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  return documentSchema.safeParse(json).data?.manifests.flatMap((raw) => parseOrigin(raw) ?? [])
}

export function tagOf({ repository, tag }: Pick<IndexEntry, 'repository' | 'tag'>): TagReference | undefined {
  return tag === undefined ? undefined : { registry: repository.registry, name: repository.name, tag }
}

function parseOrigin(raw: unknown): ManifestOrigin | undefined {
  const parsed = descriptorSchema.safeParse(raw).data
  const digest = parseDigest(parsed?.digest ?? '')
  const repository = parseRepositoryKey(parsed?.annotations[REPOSITORY] ?? '')
  if (parsed === undefined || digest === undefined || repository === undefined) return undefined
  const { size, annotations } = parsed
  const mediaType = parseManifestType(parsed.mediaType) ?? UNKNOWN_MEDIA_TYPE
  const named = parseImageReference(annotations[REF_NAME] ?? '')
  const asOf = Date.parse(annotations[AS_OF] ?? '')
  const ofRepository = named !== undefined && repositoryKey(named) === repositoryKey(repository)
  const tag =
    ofRepository && named.tag !== undefined
      ? { tag: { reference: { ...repository, tag: named.tag }, asOf: Number.isNaN(asOf) ? 0 : asOf } }
      : {}
  const isHint = annotations[MEDIA_TYPE_FROM] === 'hint'
  return {
    descriptor: { mediaType, digest, size },
    repository,
    isPublic: annotations[PUBLIC] === 'true',
    isHint,
    ...tag,
  }
}

function toDescriptor(entry: IndexEntry): object {
  const tag = tagOf(entry)
  const named = tag === undefined ? {} : { [REF_NAME]: tagKey(tag), [AS_OF]: new Date(entry.asOf).toISOString() }
  const annotations = {
    ...named,
    [REPOSITORY]: repositoryKey(entry.repository),
    [PUBLIC]: String(entry.isPublic),
    ...(entry.isHint ? { [MEDIA_TYPE_FROM]: 'hint' } : {}),
  }
  return { ...entry.descriptor, annotations }
}

function keyOf(entry: IndexEntry): string {
  return `${entry.descriptor.digest} ${repositoryKey(entry.repository)} ${entry.tag ?? ''}`
}
