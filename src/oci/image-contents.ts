import { z } from 'zod'

import { type ChildDescriptor, parseManifest } from './manifest.ts'
import { type IndexEntry, readIndex } from './platform.ts'

/** What a manifest names, by what it is for. */
export type ImageContents =
  | { readonly kind: 'index'; readonly mediaType: string; readonly manifests: readonly IndexEntry[] }
  | { readonly kind: 'image'; readonly mediaType: string; readonly parts: readonly ImagePart[] }

export interface ImagePart extends ChildDescriptor {
  readonly kind: 'config' | 'layer'
}

const imageSchema = z.object({ config: z.object({ digest: z.string() }).optional() })

/** Reads a manifest or an index; undefined for anything else. */
export function readImageContents(bytes: Uint8Array): ImageContents | undefined {
  const manifest = parseManifest(bytes)
  if (manifest === undefined) return undefined
  const { kind, mediaType, children } = manifest
  if (kind === 'index') return { kind, mediaType, manifests: readIndex(bytes) ?? [] }
  const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
  const config = imageSchema.safeParse(json).data?.config?.digest
  const parts = children.map((child, at): ImagePart => {
    return { ...child, kind: at === 0 && child.digest === config ? 'config' : 'layer' }
  })
  return { kind, mediaType, parts }
}
