import type { Digest } from '../../oci/digest.ts'
import { type ChildDescriptor, parseManifest } from '../../oci/manifest.ts'
import { type Platform, manifestFor } from '../../oci/platform.ts'
import type { Repository } from '../../oci/reference.ts'
import type { ContentStore } from '../../store/content-store.ts'
import type { Manifests } from '../manifests/manifests.ts'

/** More blobs than an image may have that a runtime unpacks (128 layers and a config). */
const MAX_BLOBS = 256

/** The image that a digest stands for on a platform: its blobs; undefined if it is no image, or has none for the platform. Throws OciError. */
export async function findImageBlobs(
  manifests: Pick<Manifests, 'get'>,
  image: { readonly repository: Repository; readonly digest: Digest; readonly platform: Platform },
  signal: AbortSignal,
): Promise<readonly ChildDescriptor[] | undefined> {
  const { repository, platform } = image
  let { bytes } = await manifests.get(repository, image.digest, signal)
  let manifest = parseManifest(bytes)
  if (manifest?.kind === 'index') {
    const member = manifestFor(bytes, platform)
    if (member === undefined) return undefined
    ;({ bytes } = await manifests.get(repository, member.digest, signal))
    manifest = parseManifest(bytes)
  }
  if (manifest?.kind !== 'image' || manifest.children.length > MAX_BLOBS) return undefined
  // One layer may stand in an image more than once.
  return [...new Map(manifest.children.map((child) => [child.digest, child])).values()]
}

/** How much of these blobs the store has by now, in bytes. What cannot be read counts as missing. */
export async function arrivedBytes(
  store: Pick<ContentStore, 'open' | 'openGrowing'>,
  blobs: readonly ChildDescriptor[],
  signal: AbortSignal,
): Promise<number> {
  const counts = await Promise.all(
    blobs.map(async ({ digest, size }) => {
      try {
        const whole = await store.open(digest, { signal })
        await whole?.close()
        if (whole !== undefined) return whole.size
        const growing = await store.openGrowing(digest, { size, signal })
        await growing?.close()
        return growing === undefined ? 0 : Math.min(growing.written, growing.size)
      } catch {
        return 0
      }
    }),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}
