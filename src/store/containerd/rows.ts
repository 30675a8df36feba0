import { z } from 'zod'

import { type Digest, parseDigest } from '../../oci/digest.ts'
import { parseManifestType } from '../../oci/manifest.ts'

/** A committed blob as one namespace sees it. */
export interface ContentRow {
  readonly digest: Digest
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly labels: Readonly<Record<string, string>>
}

/** An image of one namespace: any string as its name, and what it points to. */
export interface ImageRow {
  readonly name: string
  /** Empty if it is no media type of a manifest. */
  readonly mediaType: string
  readonly target: Digest
  /** Milliseconds since the epoch. */
  readonly updatedAt: number
}

const timestampSchema = z
  .object({ seconds: z.number(), nanos: z.number() })
  .nullish()
  .transform((time) => (time ? time.seconds * 1000 + Math.floor(time.nanos / 1e6) : 0))

const digestSchema = z.string().transform((text, context): Digest => {
  const digest = parseDigest(text)
  if (digest !== undefined) return digest
  context.addIssue({ code: 'custom', message: 'not a digest' })
  return z.NEVER
})

const contentSchema = z
  .object({
    digest: digestSchema,
    size: z.number().int().nonnegative(),
    created_at: timestampSchema,
    labels: z.record(z.string(), z.string()).default({}),
  })
  .transform((row): ContentRow => ({
    digest: row.digest,
    size: row.size,
    createdAt: row.created_at,
    labels: row.labels,
  }))

const imageSchema = z
  .object({
    name: z.string(),
    target: z.object({ media_type: z.string(), digest: digestSchema }),
    created_at: timestampSchema,
    updated_at: timestampSchema,
  })
  .transform((row): ImageRow => ({
    name: row.name,
    mediaType: parseManifestType(row.target.media_type) ?? '',
    target: row.target.digest,
    updatedAt: row.updated_at || row.created_at,
  }))

/** A row that is not understood is undefined: it must never stop the listing of the others. */
export function parseContentRow(raw: unknown): ContentRow | undefined {
  return contentSchema.safeParse(raw).data
}

/** Like {@link parseContentRow}, for images. */
export function parseImageRow(raw: unknown): ImageRow | undefined {
  return imageSchema.safeParse(raw).data
}

export const contentPageSchema = z.object({ info: z.array(z.unknown()).default([]) })
export const contentInfoSchema = z.object({ info: z.unknown() })
export const imagesSchema = z.object({ images: z.array(z.unknown()).default([]) })
export const namespacesSchema = z.object({ namespaces: z.array(z.object({ name: z.string() })).default([]) })
export const eventSchema = z.object({ topic: z.string() })
export const pluginsSchema = z.object({
  plugins: z
    .array(z.object({ type: z.string(), id: z.string(), exports: z.record(z.string(), z.string()).default({}) }))
    .default([]),
})
