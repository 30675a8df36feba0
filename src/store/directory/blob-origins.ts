import { z } from 'zod'

import { type Digest, parseDigest } from '../../oci/digest.ts'
import { parseRepositoryKey, type Repository, repositoryKey } from '../../oci/reference.ts'
import type { BlobOrigin } from '../cache-store.ts'
import { type ContentSource, UNRECORDED } from '../content-store.ts'

/** Cap on origins per digest, {@link UNRECORDED} not counted. */
const MAX_REPOSITORIES = 64

const documentSchema = z.object({ version: z.literal(1), blobs: z.record(z.string(), z.unknown()) })
const rowSchema = z.object({ public: z.array(z.string()).default([]), other: z.array(z.string()).default([]) })

/** The repositories that blobs were fetched from; persisted as `origins.json`. */
export class BlobOrigins {
  /** By digest and {@link repositoryKey}. */
  readonly #byDigest = new Map<Digest, Map<string, BlobOrigin>>()

  /**
   * Keeps an origin; returns whether anything changed. A public origin stays public: the bytes are the same. Content is public only if
   * all its origins are, so at the cap a possibly private origin replaces a public one or, without one, becomes {@link UNRECORDED}.
   */
  note(digest: Digest, { repository, isPublic }: BlobOrigin): boolean {
    const key = repositoryKey(repository)
    const origins = this.#byDigest.get(digest) ?? new Map<string, BlobOrigin>()
    const known = origins.get(key)
    if (known !== undefined && (known.isPublic || !isPublic)) return false
    if (known === undefined && origins.size >= MAX_REPOSITORIES && key !== UNRECORDED_KEY) {
      const replaced = isPublic ? undefined : [...origins].find(([, origin]) => origin.isPublic)?.[0]
      if (isPublic) return false
      if (replaced === undefined) return this.note(digest, { repository: UNRECORDED, isPublic: false })
      origins.delete(replaced)
    }
    const { registry, name } = repository
    this.#byDigest.set(digest, origins.set(key, { repository: { registry, name }, isPublic }))
    return true
  }

  /** Forgets a blob's origins; returns whether there were any. */
  delete(digest: Digest): boolean {
    return this.#byDigest.delete(digest)
  }

  of(digest: Digest): BlobOrigin[] {
    return [...(this.#byDigest.get(digest)?.values() ?? [])]
  }

  toJson(): string {
    const rows = this.#byDigest.entries().map(([digest, origins]) => {
      const keys = (isPublic: boolean) =>
        [...origins].filter(([, origin]) => origin.isPublic === isPublic).map(([key]) => key)
      return [digest, { public: keys(true), other: keys(false) }] as const
    })
    return JSON.stringify({ version: 1, blobs: Object.fromEntries(rows) })
  }
}

/** One source for each repository, public if any origin in it is. `at`: when the content arrived. */
export function sourcesOf(origins: readonly BlobOrigin[], at: number | undefined): ContentSource[] {
  const sources = new Map<string, ContentSource>()
  for (const { repository, isPublic } of origins) {
    const key = repositoryKey(repository)
    if (!isPublic && sources.has(key)) continue
    const { registry, name } = repository
    sources.set(key, { registry, name, access: isPublic ? 'public' : 'unknown', ...(at === undefined ? {} : { at }) })
  }
  return [...sources.values()]
}

const UNRECORDED_KEY = repositoryKey(UNRECORDED)

/** Parses an `origins.json`; undefined if the document is invalid. */
export function parseOrigins(text: string): Map<Digest, BlobOrigin[]> | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  const document = documentSchema.safeParse(json).data
  if (document === undefined) return undefined
  const found = new Map<Digest, BlobOrigin[]>()
  for (const [name, raw] of Object.entries(document.blobs)) {
    const digest = parseDigest(name)
    const origins = parseRow(raw)
    if (digest !== undefined && origins !== undefined) found.set(digest, origins)
  }
  return found
}

/** Rejects a row with any invalid key: without a private origin the blob would look public. */
function parseRow(raw: unknown): BlobOrigin[] | undefined {
  const row = rowSchema.safeParse(raw).data
  if (row === undefined) return undefined
  const read = (keys: readonly string[], isPublic: boolean) =>
    keys.map((key) => {
      const repository: Repository | undefined = parseRepositoryKey(key)
      return repository && { repository, isPublic }
    })
  const origins = [...read(row.public, true), ...read(row.other, false)]
  return origins.every((origin) => origin !== undefined) ? origins : undefined
}
