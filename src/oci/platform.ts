import { z } from 'zod'

import { type ChildDescriptor, parseManifest } from './manifest.ts'

/** What an image runs on: `linux/amd64`, `linux/arm/v7`. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

/** One of the manifests that an index names. */
export interface IndexEntry extends ChildDescriptor {
  readonly platform?: Platform | undefined
}

// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
const PART = /^[a-z0-9][a-z0-9_.-]{0,63}$/
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }
const ALIASES: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64', i386: '386' }

const part = z.string().max(256)
const indexSchema = z.object({ manifests: z.array(z.unknown()) })
const entrySchema = z.object({
  digest: z.string(),
  platform: z.object({ os: part, architecture: part, variant: part.optional() }).optional().catch(undefined),
})

/** Reads `os/architecture[/variant]`; undefined for anything else. */
export function parsePlatform(text: string): Platform | undefined {
  const [os = '', given = '', variant, ...more] = text.trim().toLowerCase().split('/')
  const architecture = ALIASES[given] ?? given
  const isPlatform = [os, architecture, variant ?? 'v'].every((word) => PART.test(word)) && more.length === 0
  return isPlatform ? { os, architecture, ...(variant === undefined ? {} : { variant }) } : undefined
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/')
}

/** What the containers of this machine run on. */
export function ownPlatform(): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch }
}

/** What an index names, each with its platform; undefined if the bytes are no index. */
export function readIndex(bytes: Uint8Array): readonly IndexEntry[] | undefined {
  const manifest = parseManifest(bytes)
  if (manifest?.kind !== 'index') return undefined
  const entries = indexSchema.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8'))).data?.manifests ?? []
  const known = entries.flatMap((entry) => entrySchema.safeParse(entry).data ?? [])
  const platforms = new Map(known.map(({ digest, platform }) => [digest, platform]))
  return manifest.children.map((child) => ({ ...child, platform: platforms.get(child.digest) }))
}

/** Of an index, the manifest for a platform; undefined if it has none, or the bytes are no index. */
export function manifestFor(bytes: Uint8Array, platform: Platform): IndexEntry | undefined {
  return bestMatch(platform, readIndex(bytes) ?? [])
}

/** Of several, what fits best; undefined if none does. What comes first wins among equals. */
export function bestMatch(wanted: Platform, offered: readonly IndexEntry[]): IndexEntry | undefined {
  const fitting = offered.filter(
    ({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture,
  )
  const variant = variantOf(wanted)
  const same = fitting.find(({ platform }) => platform !== undefined && variantOf(platform) === variant)
  return same ?? (wanted.variant === undefined ? fitting[0] : undefined)
}

/** https://github.com/containerd/platforms: what a name without a variant means. */
function variantOf({ architecture, variant }: Platform): string | undefined {
  const said = variant === '' ? undefined : variant
  if (architecture === 'arm64') return said ?? 'v8'
  if (architecture === 'arm') return said ?? 'v7'
  return said
}
