import { z } from 'zod'

import { type Digest, parseDigest } from './digest.ts'

export const MEDIA_TYPES = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const

const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'

/** What Nabo tells an upstream that it understands: every kind, so that the answer can be shared between clients. */
export const MANIFEST_ACCEPT: readonly string[] = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.dockerManifest,
]

/** Clients refuse larger ones (containerd: 4,393,216 bytes), the specification asks for 4 MiB at least. */
export const MAX_MANIFEST_BYTES = 4_393_216

/** A pointer to content. `size` is in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

/** A descriptor inside a manifest. */
export interface ChildDescriptor extends Omit<Descriptor, 'size'> {
  /** In bytes; absent if the manifest states none, or none that can be. */
  readonly size?: number
}

export interface Manifest {
  readonly mediaType: string
  /** What it names: an index's manifests; an image's config and layers, in this order. */
  readonly children: readonly ChildDescriptor[]
  readonly kind: 'index' | 'image'
}

/** A manifest's media type as a registry, a peer or a record tells it. */
export interface ToldMediaType {
  readonly mediaType: string
  /** True if it is the word of the manifest's registry about this repository. False for a hint: from another repository, an index or a peer. */
  readonly isRegistrys: boolean
}

/** The media type of a manifest of which nothing tells another one. */
export const UNKNOWN_MEDIA_TYPE = 'application/octet-stream'

/** https://www.rfc-editor.org/rfc/rfc6838#section-4.2: what is said here ends up in a header. */
export const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i

/** Without parameters, such as a charset; undefined for what no manifest has: no media type, or a type of text. */
export function parseManifestType(text: string): string | undefined {
  const type = text.split(';', 1)[0]?.trim() ?? ''
  return MEDIA_TYPE.test(type) && !/^text\//i.test(type) ? type : undefined
}

const descriptorSchema = z.object({
  mediaType: z.string().default(UNKNOWN_MEDIA_TYPE),
  digest: z.string(),
  size: z.number().int().nonnegative().optional().catch(undefined),
})

/** Go writes an empty list that was never set as null. */
const list = z.array(z.unknown()).nullish()

const manifestSchema = z.object({
  // The artifact manifest has none.
  schemaVersion: z.literal(2).optional(),
  mediaType: z.string().regex(MEDIA_TYPE).optional().catch(undefined),
  manifests: list,
  config: z.unknown().optional(),
  layers: list,
  blobs: list,
})

const headSchema = z.object({
  schemaVersion: z.unknown().optional(),
  mediaType: z.string().optional().catch(undefined),
  fsLayers: z.unknown().optional(),
  signatures: z.unknown().optional(),
})

/** Reads an OCI or Docker manifest or index; undefined for anything else (a config, a layer, schema 1, nonsense). */
export function parseManifest(bytes: Uint8Array): Manifest | undefined {
  return readManifest(readDocument(bytes))
}

/** The media types that a document without a `mediaType` may have. */
const SPELLINGS = {
  index: [MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerIndex],
  image: [MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest],
} as const

/**
 * The media type of a manifest. The registry's word counts; then the document's own `mediaType`. A hint must not contradict the document: read as another
 * kind, a manifest names other content, and clients refuse a type that they do not know. So a hint chooses between the OCI's and Docker's media type of
 * the parsed kind, and counts as it is only where the bytes tell nothing (see {@link tellsMediaType}).
 */
export function manifestMediaType(bytes: Uint8Array, told?: ToldMediaType): string {
  const type = told && parseManifestType(told.mediaType)
  const said = type?.toLowerCase() === UNKNOWN_MEDIA_TYPE ? undefined : type
  if (said !== undefined && told?.isRegistrys === true) return said
  const document = readDocument(bytes)
  const stated = parseManifestType(headSchema.safeParse(document).data?.mediaType ?? '')
  if (stated !== undefined) return stated
  const manifest = readManifest(document)
  if (manifest === undefined) return said ?? schema1Type(document) ?? UNKNOWN_MEDIA_TYPE
  const spelling = SPELLINGS[manifest.kind].find((spelled) => spelled === said?.toLowerCase())
  return spelling ?? manifest.mediaType
}

/** Whether the bytes tell the media type, but for the choice between the OCI's and Docker's: false for schema 1, and for what cannot be read. */
export function tellsMediaType(bytes: Uint8Array): boolean {
  const document = readDocument(bytes)
  const stated = parseManifestType(headSchema.safeParse(document).data?.mediaType ?? '')
  return stated !== undefined || readManifest(document) !== undefined
}

/** The JSON object in some bytes; undefined if they are none, or too many. */
function readDocument(bytes: Uint8Array): unknown {
  if (bytes.length === 0 || bytes.length > MAX_MANIFEST_BYTES || firstOf(bytes) !== 0x7b) return undefined
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    return undefined
  }
}

/** The first byte that is not white space: a layer need not be read as JSON. */
function firstOf(bytes: Uint8Array): number | undefined {
  return bytes.find((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)
}

function readManifest(document: unknown): Manifest | undefined {
  const parsed = manifestSchema.safeParse(document).data
  if (parsed === undefined) return undefined
  const { schemaVersion, mediaType, manifests, config, layers, blobs } = parsed
  if (schemaVersion === undefined && mediaType === undefined) return undefined
  if (manifests !== undefined && manifests !== null) {
    const children = descriptors(manifests)
    return { kind: 'index', mediaType: mediaType ?? indexType(children), children }
  }
  const lists = [layers, blobs].filter((items) => items !== undefined)
  const configs = descriptors([config])
  if (configs.length === 0 && lists.length === 0) return undefined
  const children = [...configs, ...lists.flatMap((items) => descriptors(items ?? []))]
  return { kind: 'image', mediaType: mediaType ?? imageType(config), children }
}

/** Only the OCI lets a manifest leave its media type out, but Docker manifests without one exist: their config tells. */
function imageType(config: unknown): string {
  const isDocker = descriptorSchema.safeParse(config).data?.mediaType === DOCKER_CONFIG
  return isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest
}

function indexType(children: readonly ChildDescriptor[]): string {
  const isDocker = ({ mediaType }: ChildDescriptor) => mediaType === MEDIA_TYPES.dockerManifest
  return children.length > 0 && children.every(isDocker) ? MEDIA_TYPES.dockerIndex : MEDIA_TYPES.ociIndex
}

function schema1Type(document: unknown): string | undefined {
  const head = headSchema.safeParse(document).data
  if (head?.schemaVersion !== 1 || !Array.isArray(head.fsLayers)) return undefined
  return head.signatures === undefined ? MEDIA_TYPES.dockerSchema1 : MEDIA_TYPES.dockerSchema1Signed
}

/** A child whose digest no store could hold (another algorithm) is left out: it cannot be asked for either. */
function descriptors(raw: readonly unknown[]): ChildDescriptor[] {
  return raw.flatMap((item) => {
    const child = descriptorSchema.safeParse(item).data
    const digest = parseDigest(child?.digest ?? '')
    if (child === undefined || digest === undefined) return []
    const { mediaType, size } = child
    return [{ mediaType, digest, ...(size === undefined ? {} : { size }) }]
  })
}
