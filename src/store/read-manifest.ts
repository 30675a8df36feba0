import { type Digest, matchesDigest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import type { ContentStore } from './content-store.ts'
import { readAll } from './read-all.ts'

/** The verified bytes of a manifest that is held; undefined for anything larger, which is a layer that was asked for as a manifest. */
export async function readManifest(
  store: Pick<ContentStore, 'open'>,
  digest: Digest,
  options: { signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  const blob = await store.open(digest, options)
  const bytes = blob && (await readAll(blob, MAX_MANIFEST_BYTES))
  return bytes !== undefined && matchesDigest(bytes, digest) ? bytes : undefined
}
