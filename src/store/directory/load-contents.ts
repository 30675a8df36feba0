import { type Digest, matchesDigest } from '../../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../../oci/manifest.ts'
import type { Log } from '../../telemetry/log.ts'
import { FileBlob, openFile } from '../file-blob.ts'
import { readAll } from '../read-all.ts'
import type { ImageIndex } from './image-index.ts'
import type { IndexFile } from './index-file.ts'
import type { Layout } from './layout.ts'
import type { ManifestGraph } from './manifest-graph.ts'
import type { Space } from './space.ts'

/** What a directory holds, as the store keeps it in memory. */
export interface Contents {
  readonly layout: Layout
  readonly space: Space
  readonly index: ImageIndex
  readonly graph: ManifestGraph
}

/** Fills `contents` from the disk. Blobs keep the order in which they were used; the index says nothing of what is not held. */
export async function loadContents(contents: Contents, indexFile: IndexFile, log: Pick<Log, 'warn'>): Promise<void> {
  const { layout, space, index } = contents
  const found = await layout.scan(log)
  found.sort((a, b) => a.modifiedAt - b.modifiedAt)
  for (const { digest, size, modifiedAt } of found) space.add(digest, { size, usedAt: modifiedAt })
  for (const origin of await indexFile.read()) {
    if (space.has(origin.descriptor.digest)) index.put(origin)
  }
  for (const { descriptor } of index.entries()) await loadManifest(contents, descriptor.digest)
}

/** Without touching it: a restart is no use of a blob. */
async function loadManifest({ layout, space, graph }: Contents, digest: Digest): Promise<void> {
  const known = space.get(digest)
  if (known === undefined || known.size > MAX_MANIFEST_BYTES || graph.has(digest)) return
  const file = await openFile(layout.blob(digest))
  if (file === undefined) return
  const bytes = await readAll(new FileBlob(file.handle, file.size), MAX_MANIFEST_BYTES)
  if (bytes !== undefined && matchesDigest(bytes, digest)) graph.add(bytes, digest)
}
