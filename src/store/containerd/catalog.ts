import { type Digest, parseDigest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import {
  type IsMirror,
  parseImageReference,
  type Repository,
  repositoryKey,
  tagKey,
  type TagReference,
} from '../../oci/reference.ts'
import type { StoreChange, StoreEntry } from '../content-store.ts'
import { RecordedTypes } from './recorded-types.ts'
import type { ContentRow, ImageRow } from './rows.ts'
import { type MirrorPredicates, SourceLabels } from './source-labels.ts'

/**
 * Images and content of one namespace. `selected`: its content is offered. Labels and image names of unselected namespaces are read
 * too, since they tell which registries the content came from.
 */
export interface NamespaceRows {
  readonly selected: boolean
  readonly images: readonly ImageRow[]
  readonly content: readonly ContentRow[]
}

export interface CatalogBlob {
  readonly size: number
  /** The latest creation time in any namespace, in milliseconds since the epoch. */
  readonly createdAt: number
  /** True if any namespace says that it came from a registry, be the label readable or not. */
  readonly labelled: boolean
  readonly sources: readonly Repository[]
}

export interface CatalogTag {
  readonly tag: TagReference
  readonly descriptor: Descriptor
  readonly asOf: number
}

/** An image that has a repository's name but whose target came from no registry. */
export interface ImportedImage {
  readonly repository: Repository
  readonly target: Digest
}

/** What containerd holds, at one moment. */
export interface Catalog {
  readonly blobs: ReadonlyMap<Digest, CatalogBlob>
  /** By {@link tagKey}; only tags whose target is held. */
  readonly tags: ReadonlyMap<string, CatalogTag>
  readonly imported: readonly ImportedImage[]
  readonly types: RecordedTypes
  /** Reader of this node's source labels; undefined before the first listing. */
  readonly labels: SourceLabels | undefined
  /** When the listing began, in milliseconds since the epoch. */
  readonly listedAt: number
}

export const EMPTY_CATALOG: Catalog = {
  blobs: new Map(),
  tags: new Map(),
  imported: [],
  types: new RecordedTypes(),
  labels: undefined,
  listedAt: 0,
}

/** Content and images under the mirror's own address count as content of the registry behind it. */
export function buildCatalog(
  namespaces: readonly NamespaceRows[],
  { listedAt, ...mirror }: MirrorPredicates & Pick<Catalog, 'listedAt'>,
): Catalog {
  const { isMirror } = mirror
  const imageNames = namespaces.flatMap(({ images }) => images.map(({ name }) => name))
  const labels = new SourceLabels(imageNames, mirror)
  const byDigest = new Map<Digest, ContentRow[]>()
  const types = new RecordedTypes()
  for (const { content } of namespaces.filter((namespace) => namespace.selected)) {
    for (const row of content) {
      push(byDigest, row)
      types.noteContent(row)
    }
  }
  for (const { content } of namespaces.filter((namespace) => !namespace.selected)) {
    for (const row of content) if (byDigest.has(row.digest)) push(byDigest, row)
  }
  const blobs = new Map(byDigest.entries().map(([digest, rows]) => [digest, mergeRows(rows, labels)]))
  const tags = new Map<string, CatalogTag>()
  const imported = new Map<string, ImportedImage>()
  for (const image of namespaces.flatMap((namespace) => (namespace.selected ? namespace.images : []))) {
    addImage({ image, isMirror }, blobs, tags, imported)
    types.noteImage(image, isMirror)
  }
  return { blobs, tags, imported: [...imported.values()], types, labels, listedAt }
}

/** What the rows of one digest say together; the rows of some namespaces may lack the labels. */
export function mergeRows(rows: readonly ContentRow[], labels: SourceLabels): CatalogBlob {
  const sources = new Map<string, Repository>()
  let [size, createdAt, labelled] = [0, 0, false]
  for (const row of rows) {
    size = row.size
    createdAt = Math.max(createdAt, row.createdAt)
    const read = labels.read(row.labels)
    labelled ||= read.labelled
    for (const source of read.sources) sources.set(repositoryKey(source), source)
  }
  return { size, createdAt, labelled, sources: [...sources.values()] }
}

/** The indexes of a repository that list a manifest. */
export function parentsIn(catalog: Catalog, digest: Digest, repository: Repository): Digest[] {
  return catalog.types.parentsOf(digest).filter((parent) => isOf(catalog, parent, repository))
}

/** The manifests and indexes of a repository, most recent first. */
export function manifestsIn(catalog: Catalog, repository: Repository): Digest[] {
  const createdAt = (digest: Digest) => catalog.blobs.get(digest)?.createdAt ?? 0
  return catalog.types
    .manifests()
    .filter((digest) => catalog.blobs.has(digest) && isOf(catalog, digest, repository))
    .sort((a, b) => createdAt(b) - createdAt(a))
}

/** Whether a source label or an image says that a manifest is a repository's. */
function isOf({ types, blobs }: Catalog, manifest: Digest, repository: Repository): boolean {
  const key = repositoryKey(repository)
  const isSource = blobs.get(manifest)?.sources.some((source) => repositoryKey(source) === key) === true
  return isSource || types.ofImage(manifest, repository)?.isRegistrys === true
}

/** Blobs and tags, most recent first. */
export function catalogEntries(catalog: Catalog): StoreEntry[] {
  const dated: { at: number; entry: StoreEntry }[] = []
  for (const [digest, blob] of catalog.blobs) dated.push({ at: blob.createdAt, entry: { type: 'blob', digest } })
  for (const { tag, asOf } of catalog.tags.values()) dated.push({ at: asOf, entry: { type: 'tag', tag } })
  return dated.sort((a, b) => b.at - a.at).map(({ entry }) => entry)
}

export function catalogChanges(before: Catalog, after: Catalog): StoreChange[] {
  const changes: StoreChange[] = []
  for (const [key, { tag }] of before.tags) {
    if (!after.tags.has(key)) changes.push({ type: 'removed', entry: { type: 'tag', tag } })
  }
  for (const digest of before.blobs.keys()) {
    if (!after.blobs.has(digest)) changes.push({ type: 'removed', entry: { type: 'blob', digest } })
  }
  for (const digest of after.blobs.keys()) {
    if (!before.blobs.has(digest)) changes.push({ type: 'added', entry: { type: 'blob', digest } })
  }
  for (const [key, { tag }] of after.tags) {
    if (!before.tags.has(key)) changes.push({ type: 'added', entry: { type: 'tag', tag } })
  }
  return changes
}

function push(rows: Map<Digest, ContentRow[]>, row: ContentRow): void {
  const known = rows.get(row.digest)
  if (known === undefined) rows.set(row.digest, [row])
  else known.push(row)
}

function addImage(
  { image, isMirror }: { readonly image: ImageRow; readonly isMirror: IsMirror | undefined },
  blobs: ReadonlyMap<Digest, CatalogBlob>,
  tags: Map<string, CatalogTag>,
  imported: Map<string, ImportedImage>,
): void {
  const target = blobs.get(image.target)
  // Kubernetes also names each image by the digest of its config (`sha256:…`), which would read as a repository and a tag.
  const reference = parseDigest(image.name) === undefined ? parseImageReference(image.name, isMirror) : undefined
  if (target === undefined || reference === undefined) return
  const { registry, name, tag } = reference
  if (!target.labelled) {
    imported.set(`${registry}/${name} ${image.target}`, { repository: { registry, name }, target: image.target })
  }
  if (tag === undefined || reference.digest !== undefined || image.mediaType === '') return
  const known: CatalogTag = {
    tag: { registry, name, tag },
    descriptor: { mediaType: image.mediaType, digest: image.target, size: target.size },
    asOf: image.updatedAt,
  }
  const key = tagKey(known.tag)
  const other = tags.get(key)
  if (other === undefined || other.asOf < known.asOf) tags.set(key, known)
}
