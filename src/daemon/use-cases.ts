import type { ServeConfig } from '../config/serve-config.ts'
import { BlobDeliveries } from '../delivery/blob-delivery.ts'
import { Fills } from '../delivery/fill.ts'
import { Manifests } from '../delivery/manifests.ts'
import type { RegistryPolicy } from '../delivery/registry-policy.ts'
import { RemoteBlobs } from '../delivery/remote-blobs.ts'
import { Suspects } from '../delivery/suspects.ts'
import { TagMemory } from '../delivery/tag-memory.ts'
import { TagResolver } from '../delivery/tag-resolver.ts'
import { Visibility } from '../delivery/visibility.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import { IngestError } from '../store/cache-store.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { second } from '../time/units.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { ChosenStore } from './create-store.ts'

/** For one lookup, which has a shorter deadline of its own. */
const BLAME_TIMEOUT = 2 * second

export interface UseCases {
  readonly policy: RegistryPolicy
  readonly blobs: BlobDeliveries
  readonly manifests: Manifests
  readonly tags: TagResolver
  readonly fills: Fills | undefined
}

/** Puts the use cases together over the ports. */
export function createUseCases(
  config: ServeConfig,
  parts: { chosen: ChosenStore; index: ProviderIndex; peers: PeerClient; upstream: Upstream; log: Log },
): UseCases {
  const { chosen, index, peers, upstream, log } = parts
  const { store, cache } = chosen
  const policy = { mirrored: config.registries, fallback: config.fallback }
  const visibility = new Visibility({ store, upstream, policy: config.privateImages, ownsContent: cache !== undefined })
  const suspects = new Suspects()
  store.subscribe(({ type, entry }) => {
    if (type === 'added' && entry.type === 'blob') suspects.clear(entry.digest)
  })
  const remote = new RemoteBlobs({
    index,
    peers,
    upstream,
    policy,
    suspects,
    peerStall: config.stallTimeout,
    upstreamStall: config.upstreamTimeout,
    log,
  })
  const fills =
    cache &&
    new Fills({
      store: cache,
      open: (request, options) => remote.open(request, options),
      onEnd: (request, fill, error) => {
        const fields = { digest: request.digest, bytes: fill.written, shares: fill.record.shares }
        if (error === undefined) log.debug(fields, 'a blob is in the cache')
        else log.warn({ ...fields, err: errorText(error) }, 'a blob did not get into the cache')
        if (error instanceof IngestError && error.reason === 'digest-mismatch') {
          void remote.blame(request, fill.record, { signal: AbortSignal.timeout(BLAME_TIMEOUT) }).catch(() => {})
        }
      },
    })
  const tags = new TagMemory()
  return {
    policy,
    fills,
    blobs: new BlobDeliveries({ store, remote, visibility, fills, log }),
    manifests: new Manifests({ store, cache, index, peers, upstream, policy, visibility, tags, log }),
    tags: new TagResolver({
      store,
      index,
      peers,
      upstream,
      policy,
      tagPolicy: config.tagPolicy,
      visibility,
      tags,
      log,
    }),
  }
}
