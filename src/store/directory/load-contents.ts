import type { Digest } from '../../oci/digest.ts'
import type { Log } from '../../telemetry/log.ts'
import type { BlobOrigin, ManifestOrigin } from '../cache-store.ts'
import type { BlobOrigins } from './blob-origins.ts'
import type { ImageIndex } from './image-index.ts'
import type { Layout } from './layout.ts'
import type { Space } from './space.ts'
import type { StateFile } from '../state-file.ts'

/** In-memory state of a cache directory. */
export interface Contents {
  readonly layout: Layout
  readonly space: Space
  readonly index: ImageIndex
  readonly origins: BlobOrigins
}

export interface ContentsFiles {
  readonly index: Pick<StateFile<readonly ManifestOrigin[]>, 'read'>
  readonly origins: Pick<StateFile<ReadonlyMap<Digest, readonly BlobOrigin[]>>, 'read'>
}

/** Fills `contents` from disk. Blobs keep their order of last use; entries for blobs that are not held are dropped. */
export async function loadContents(contents: Contents, files: ContentsFiles, log: Pick<Log, 'warn'>): Promise<void> {
  const { layout, space, index, origins } = contents
  const found = await layout.scan(log)
  found.sort((a, b) => a.modifiedAt - b.modifiedAt)
  for (const { digest, size, modifiedAt } of found) space.add(digest, { size, usedAt: modifiedAt })
  for (const origin of (await files.index.read()) ?? []) {
    if (space.has(origin.descriptor.digest)) index.put(origin)
  }
  for (const [digest, known] of (await files.origins.read()) ?? []) {
    if (space.has(digest)) for (const origin of known) origins.note(digest, origin)
  }
}
