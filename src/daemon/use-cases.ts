import type { ServeConfig } from '../config/serve-config.ts'
import { askToVerify } from '../delivery/integrity/ask-to-verify.ts'
import { KnownSizes } from '../delivery/blobs/known-sizes.ts'
import { Manifests } from '../delivery/manifests/manifests.ts'
import { Callers } from '../delivery/access/callers.ts'
import { PrivateImages } from '../delivery/access/private-images.ts'
import type { RegistryPolicy } from '../delivery/access/registry-policy.ts'
import { SelfCheck } from '../delivery/integrity/self-check.ts'
import { SharedVerdicts } from '../delivery/access/shared-verdicts.ts'
import { StaleTags } from '../delivery/tags/stale-tags.ts'
import { Suspects } from '../delivery/integrity/suspects.ts'
import { tellSwarm } from '../delivery/integrity/tell-swarm.ts'
import { TagMemory } from '../delivery/tags/tag-memory.ts'
import { TagResolver } from '../delivery/tags/tag-resolver.ts'
import { Visibility } from '../delivery/access/visibility.ts'
import type { Digest } from '../oci/digest.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { AccessClient } from '../peers/access-client.ts'
import { VerifyClient } from '../peers/verify-client.ts'
import type { Quota } from './quota.ts'
import { type BlobParts, type BlobUseCases, createBlobs } from './create-blobs.ts'

export interface UseCases extends BlobUseCases {
  readonly policy: RegistryPolicy
  readonly manifests: Manifests
  readonly tags: TagResolver
  readonly staleTags: StaleTags
  readonly suspects: Suspects
  readonly selfCheck: SelfCheck
  readonly visibility: Visibility
  readonly privateImages: PrivateImages
}

/** Puts the use cases together over the ports. */
export function createUseCases(
  config: ServeConfig,
  parts: Omit<BlobParts, 'policy' | 'visibility' | 'sizes' | 'suspects' | 'verify'> & {
    readonly overlay: Overlay
    readonly quota: Quota
  },
): UseCases {
  const { chosen, peers, upstream, log } = parts
  const { store, cache, quarantine } = chosen
  const policy = { mirrored: config.registries, fallback: config.fallback }
  const visibility = new Visibility({
    store,
    upstream,
    policy: config.privateImages,
    ownsContent: cache !== undefined,
    cluster: clusterVerdicts(config, parts),
    believesPeers: config.clusterSecretFile !== undefined,
  })
  const verify = new VerifyClient(peers)
  const suspects = new Suspects({
    store,
    log,
    onSuspect: (suspicion) => {
      void askToVerify(suspicion, verify, log)
      tellSwarm(suspicion, parts.swarm)
    },
  })
  store.subscribe(({ type, entry }) => {
    if (type === 'added' && entry.type === 'blob') suspects.confirmed(entry.digest)
  })
  const discard = cache && ((digest: Digest) => cache.discard(digest))
  const shared = {
    ...parts,
    store,
    cache,
    policy,
    visibility,
    suspects,
    verify,
    sizes: new KnownSizes(),
    tags: new TagMemory(),
    staleTags: new StaleTags(),
    countedAs: (registry: string) => parts.quota.book.sourcesAt(registry),
  }
  const tags = new TagResolver({ ...shared, tagPolicy: config.tagPolicy })
  const callers = new Callers({ upstream, visibility })
  return {
    policy,
    suspects,
    staleTags: shared.staleTags,
    visibility,
    privateImages: new PrivateImages({ visibility, callers, tags, upstream, policy: config.privateImages }),
    ...createBlobs(config, shared),
    selfCheck: new SelfCheck({ store, quarantine, discard, log }),
    manifests: new Manifests(shared),
    tags,
  }
}

/** Without a secret nobody knows who says that a repository is public. */
function clusterVerdicts(
  config: ServeConfig,
  { overlay, peers, log }: Pick<BlobParts, 'peers' | 'log'> & { readonly overlay: Overlay },
): SharedVerdicts | undefined {
  if (config.clusterSecretFile === undefined) return undefined
  return new SharedVerdicts({ overlay, client: new AccessClient(peers), replicas: config.indexReplicas, log })
}
