import { MANIFEST_ACCEPT, type ChildDescriptor } from '../../oci/manifest.ts'
import { OciError } from '../../oci/errors.ts'
import { formatPlatform, ownPlatform } from '../../oci/platform.ts'
import type { Repository } from '../../oci/reference.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { type ImagePuller, PullError, type PullOrder, type PulledImage } from '../../store/image-puller.ts'
import type { BlobDeliveries } from '../blobs/blob-deliveries.ts'
import { findImageBlobs } from './image-blobs.ts'
import type { Manifests } from '../manifests/manifests.ts'
import type { TagResolver } from '../tags/tag-resolver.ts'
import type { TransferShare } from '../blobs/transfer-record.ts'

export interface CachePullerOptions {
  readonly store: Pick<ContentStore, 'open'>
  readonly blobs: Pick<BlobDeliveries, 'open'>
  readonly manifests: Pick<Manifests, 'get'>
  readonly tags: Pick<TagResolver, 'resolve'>
}

/** As many as containerd's default. */
const CONCURRENT_BLOBS = 3

/** Pulls into the cache that Nabo fills itself, by the way on which its clients pull. */
export class CachePuller implements ImagePuller {
  readonly #options: CachePullerOptions

  constructor(options: CachePullerOptions) {
    this.#options = options
  }

  async pull(order: PullOrder, { signal }: { signal: AbortSignal }): Promise<PulledImage> {
    if (order.namespace !== undefined)
      throw new PullError('unsupported', 'this node has no containerd: the cache knows no namespaces')
    try {
      return await this.#pull(order, signal)
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof OciError) throw new PullError('failed', cause.message, { cause })
      throw cause
    }
  }

  async #pull({ reference, platform = ownPlatform() }: PullOrder, signal: AbortSignal): Promise<PulledImage> {
    const { tags, manifests } = this.#options
    const { tag = 'latest' } = reference
    const resolve = () => tags.resolve({ ...reference, tag }, MANIFEST_ACCEPT, signal, undefined, { isPatient: true })
    const digest = reference.digest ?? (await resolve()).descriptor.digest
    const image = { repository: reference, digest, platform }
    const contents = await findImageBlobs(manifests, image, signal)
    if (contents === undefined) throw new PullError('failed', `it has no image for ${formatPlatform(platform)}`)
    const fetched = { peer: 0, upstream: 0 }
    const queue = contents.values()
    const work = async () => {
      for (const blob of queue) {
        for (const { source, bytes } of await this.#fill(reference, blob, signal))
          if (source !== 'local') fetched[source] += bytes
      }
    }
    await Promise.all(Array.from({ length: CONCURRENT_BLOBS }, work))
    await this.#requireKept(contents, signal)
    return { digest, fetched }
  }

  async #fill(
    repository: Repository,
    { digest }: ChildDescriptor,
    signal: AbortSignal,
  ): Promise<readonly TransferShare[]> {
    const { registry, name } = repository
    const blob = { repository: { registry, name }, digest }
    const delivery = await this.#options.blobs.open(blob, { type: 'whole' }, signal)
    try {
      // Whoever reads keeps the fill going.
      if (delivery.type === 'stream') for await (const _ of delivery.chunks()) signal.throwIfAborted()
      return delivery.type === 'stream' ? delivery.record.shares : []
    } finally {
      await delivery.close()
    }
  }

  async #requireKept(contents: readonly ChildDescriptor[], signal: AbortSignal): Promise<void> {
    for (const { digest } of contents) {
      const blob = await this.#options.store.open(digest, { signal })
      await blob?.close()
      if (blob === undefined)
        throw new PullError('failed', 'the cache could not keep all of it: see --cache-size and the free space')
    }
  }
}
