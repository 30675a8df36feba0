import type { ServeConfig } from '../config/serve-config.ts'
import { askToVerify } from '../delivery/integrity/ask-to-verify.ts'
import { KnownSizes } from '../delivery/blobs/known-sizes.ts'
import { Manifests } from '../delivery/manifests/manifests.ts'
import { CallerProofs } from '../delivery/access/caller-proofs.ts'
import { ClientAccess } from '../delivery/access/client-access.ts'
import { ImageFilter } from '../delivery/access/image-filter.ts'
import { type RegistryPolicy, includesRegistry } from '../delivery/access/registry-policy.ts'
import { SelfCheck } from '../delivery/integrity/self-check.ts'
import { SharedProofs } from '../delivery/access/cluster-proofs.ts'
import { PublicProofs } from '../delivery/access/public-proofs.ts'
import { Rights } from '../delivery/access/rights.ts'
import { StaleTags } from '../delivery/tags/stale-tags.ts'
import { Suspects } from '../delivery/integrity/suspects.ts'
import { tellSwarm } from '../delivery/integrity/tell-swarm.ts'
import { TagMemory } from '../delivery/tags/tag-memory.ts'
import { TagResolver } from '../delivery/tags/tag-resolver.ts'
import type { Digest } from '../oci/digest.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { Quota } from './quota.ts'
import { type BlobParts, type BlobUseCases, createBlobs } from './create-blobs.ts'

export interface UseCases extends BlobUseCases {
  readonly policy: RegistryPolicy
  readonly manifests: Manifests
  readonly tags: TagResolver
  readonly staleTags: StaleTags
  readonly suspects: Suspects
  readonly selfCheck: SelfCheck
  readonly publicProofs: PublicProofs
  readonly clientAccess: ClientAccess
  /** Whether the registry shows content of a repository to everybody. Asks the registry without a proof. */
  readonly isPublic: Rights['isPublic']
}

/** Puts the use cases together over the ports. */
export function createUseCases(
  config: ServeConfig,
  parts: Omit<BlobParts, 'policy' | 'rights' | 'sizes' | 'suspects'> & {
    readonly overlay: Overlay
    readonly quota: Quota
    readonly isMirrorHost: (host: string) => boolean
    readonly believesPeers: boolean
  },
): UseCases {
  const { chosen, provenance, upstream, believesPeers, log } = parts
  const { store, cache, quarantine } = chosen
  const policy = registryPolicy(config)
  const hasCredentials = config.credentialsFile !== undefined || config.credentialProviderConfig !== undefined
  const publicProofs = new PublicProofs({
    upstream,
    cluster: believesPeers ? clusterProofs(config, parts) : undefined,
    believesPeers,
  })
  const callers = new CallerProofs({
    upstream,
    onAnonymous: (repository, reference) => publicProofs.shown(repository, reference),
  })
  const rights = new Rights({
    store,
    provenance,
    publicProofs,
    callers,
    registries: policy,
    policy: config.privateImages,
    hasCredentials,
    isBelieved: believesPeers,
    isMirrorHost: parts.isMirrorHost,
    believesPeers,
  })
  const suspects = createSuspects(parts)
  const discard = cache && ((digest: Digest) => cache.discard(digest))
  const shared = {
    ...parts,
    store,
    cache,
    policy,
    rights,
    suspects,
    sizes: new KnownSizes(),
    tags: new TagMemory(),
    staleTags: new StaleTags(),
    upstreamTimeout: config.upstreamTimeout,
    countedAs: (registry: string) => parts.quota.book.sourcesAt(registry),
  }
  const tags = new TagResolver({ ...shared, tagPolicy: config.tagPolicy, believesPeers })
  return {
    policy,
    suspects,
    staleTags: shared.staleTags,
    publicProofs,
    isPublic: (...asked) => rights.isPublic(...asked),
    clientAccess: new ClientAccess({
      rights,
      callers,
      tags,
      upstream,
      policy: config.privateImages,
      hasCredentials,
      fetches: (registry) => includesRegistry(policy.fallback, registry),
    }),
    ...createBlobs(config, shared),
    selfCheck: new SelfCheck({ store, quarantine, discard, log }),
    manifests: new Manifests(shared),
    tags,
  }
}

function createSuspects({
  chosen,
  peers,
  swarm,
  log,
}: Pick<BlobParts, 'chosen' | 'peers' | 'swarm' | 'log'>): Suspects {
  const { store } = chosen
  const suspects = new Suspects({
    store,
    log,
    onSuspect: (suspicion) => {
      void askToVerify(suspicion, peers, log)
      tellSwarm(suspicion, swarm)
    },
  })
  store.subscribe(({ type, entry }) => {
    if (type === 'added' && entry.type === 'blob') suspects.confirmed(entry.digest)
  })
  return suspects
}

function clusterProofs(
  config: ServeConfig,
  { overlay, peers, log }: Pick<BlobParts, 'peers' | 'log'> & { readonly overlay: Overlay },
): SharedProofs {
  return new SharedProofs({ overlay, nodes: peers, replicas: config.indexReplicas, log })
}

/** The registry policy that the flags set. */
export function registryPolicy(config: ServeConfig): RegistryPolicy {
  const { registries, fallback, upstream } = config
  return { mirrored: registries, images: new ImageFilter(config), fallback, upstreams: new Set(upstream.keys()) }
}
