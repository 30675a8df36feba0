import { type Digest, matchesDigest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import type { ContentStore } from './content-store.ts'
import { readAll } from './read-all.ts'

/**
 * The verified bytes of a manifest that is held; undefined for anything larger than `limit` bytes, by default those of the largest manifest: it is a
 * layer that was asked for as a manifest.
 */
export async function readManifest(
  store: Pick<ContentStore, 'open'>,
  digest: Digest,
  { signal, limit = MAX_MANIFEST_BYTES }: { signal: AbortSignal; limit?: number },
): Promise<Uint8Array | undefined> {
  const blob = await store.open(digest, { signal })
  const bytes = blob && (await readAll(blob, limit))
  return bytes !== undefined && matchesDigest(bytes, digest) ? bytes : undefined
}
