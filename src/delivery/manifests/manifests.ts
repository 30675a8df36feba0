import type { Digest } from '../../oci/digest.ts'
import { type Manifest, parseManifest } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { CacheStore } from '../../store/cache-store.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { readManifest } from '../../store/read-manifest.ts'
import type { Swarm, SwarmItem } from '../../swarm/swarm.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { abortable, withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { Audience, Caller } from '../access/audience.ts'
import { type DeliveredManifest, type HeldManifest, descriptorOf, toldToPeer } from './delivered-manifest.ts'
import type { KnownSizes } from '../blobs/known-sizes.ts'
import { ManifestMemory } from './manifest-memory.ts'
import {
  type ManifestRequest,
  RemoteManifests,
  type RemoteManifestsOptions,
  UNDER_WAY_PATIENCE,
} from './remote-manifests.ts'
import type { TagMemory } from '../tags/tag-memory.ts'
import type { Access } from '../access/provenance.ts'
import type { Rights } from '../access/rights.ts'

export interface ManifestsOptions extends RemoteManifestsOptions {
  readonly store: Pick<ContentStore, 'open' | 'mediaType'>
  /** Present where Nabo fills the store itself. */
  readonly cache: Pick<CacheStore, 'putManifest'> | undefined
  readonly swarm: Pick<Swarm, 'enter' | 'prepare'>
  readonly rights: Rights
  readonly tags: Pick<TagMemory, 'tagsOf'>
  /** Told what manifests say about the sizes of layers. */
  readonly sizes: Pick<KnownSizes, 'note'>
  /** `--upstream-timeout` in milliseconds. */
  readonly upstreamTimeout: number
  readonly log: Log
}

/** For all callers of one fetch together, besides the time of a slow upstream; each has its own, shorter deadline. */
const FETCH_TIMEOUT = 30 * second
/** Longer than a rollout's nodes are apart, and than containerd takes to commit it. */
const MEMORY_LIFE = 3 * minute
/** More layers than an image may have; an index of so many platforms is none. */
const MAX_PREPARED = 128

/** Manifests by digest: from this node, a neighbour, the upstream. Always verified, since they are small. */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #remote: RemoteManifests
  readonly #memory = new ManifestMemory(MEMORY_LIFE)
  readonly #pending = new Map<string, Promise<DeliveredManifest>>()

  constructor(options: ManifestsOptions) {
    this.#options = options
    this.#remote = new RemoteManifests(options)
  }

  /** What this node holds, or is just getting for a neighbour that asks, and may show; undefined otherwise. */
  async getLocal(
    repository: Repository,
    digest: Digest,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<DeliveredManifest | undefined> {
    // Looked up before the store is asked: a fetch that ends meanwhile is in neither of them afterwards.
    const pending = audience.kind === 'peer' ? this.#pending.get(keyOf(repository, digest)) : undefined
    const held = (await this.#held(repository, digest, signal)) ?? (pending && (await underWay(pending, signal)))
    if (held === undefined) return undefined
    const content = { kind: 'manifests', digest } as const
    const access = await this.#options.rights.access(repository, content, audience, { signal })
    if (access === undefined) return undefined
    const { bytes, told } = held
    const own = { descriptor: descriptorOf(digest, held), bytes, isRegistrys: told?.isRegistrys === true }
    const isBelieved = audience.kind === 'peer' && this.#options.believesPeers
    return { ...own, descriptor: isBelieved ? toldToPeer(own) : own.descriptor, source: 'local', access }
  }

  /** Whether this node has the manifest; access is not checked. */
  async holds(digest: Digest, signal: AbortSignal): Promise<boolean> {
    return this.#memory.has(digest) || (await this.#stored(digest, signal)) !== undefined
  }

  /** From this node, peers or the upstream; concurrent requests with the same caller share one fetch. Throws OciError if none has it. */
  async get(repository: Repository, digest: Digest, signal: AbortSignal, caller?: Caller): Promise<DeliveredManifest> {
    const local = await this.#getOwn(repository, digest, caller, signal)
    if (local !== undefined) return local
    const key = keyOf(repository, digest, caller)
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Not the first caller's signal: the neighbours follow this fetch as well.
      pending = this.#fetch(
        { repository, digest, caller },
        AbortSignal.timeout(FETCH_TIMEOUT + this.#options.upstreamTimeout),
      ).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    return abortable(pending, signal)
  }

  /** A store that cannot be read must not fail a pull that others can serve. */
  async #getOwn(
    repository: Repository,
    digest: Digest,
    caller: Caller | undefined,
    signal: AbortSignal,
  ): Promise<DeliveredManifest | undefined> {
    try {
      const own = await this.getLocal(repository, digest, { kind: 'node', caller }, signal)
      // The layers may still be missing.
      if (own !== undefined) this.#options.sizes.note(repository, parseManifest(own.bytes)?.children ?? [])
      return own
    } catch (error) {
      signal.throwIfAborted()
      this.#options.log.error({ digest, err: errorText(error) }, 'the content store cannot be read')
      return undefined
    }
  }

  #fetch(request: ManifestRequest, signal: AbortSignal): Promise<DeliveredManifest> {
    return this.#remote.fetch(request, { signal, keep: (delivered) => this.#keep(request, delivered, signal) })
  }

  /** Takes note of a verified manifest that an upstream or a peer gave for a repository. */
  async #keep(
    { repository, caller }: ManifestRequest,
    delivered: DeliveredManifest,
    signal: AbortSignal,
  ): Promise<void> {
    const { rights, cache, tags, sizes, swarm } = this.#options
    const { descriptor, bytes, isRegistrys, access } = delivered
    const manifest = parseManifest(bytes)
    sizes.note(repository, manifest?.children ?? [])
    const how =
      delivered.source === 'upstream'
        ? ({ from: 'upstream', anonymous: access === 'public' } as const)
        : ({ from: 'peer', access } as const)
    const counted = rights.verifiedCame(repository, descriptor.digest, how, caller)
    this.#memory.put(repository, delivered)
    const isPersonal = caller !== undefined && rights.knownVerdict(repository) !== true
    if (manifest !== undefined && !isPersonal && rights.mayShare(repository))
      swarm.prepare(itemsOf(repository, manifest))
    if (cache === undefined) return
    const isPublic = !isPersonal && (await this.#isPublic(repository, descriptor.digest, counted, signal))
    const origin = { descriptor, repository, isPublic, isHint: !isRegistrys }
    await cache.putManifest(bytes, origin)
    // A tag that the registry resolved for one caller is not stored for others.
    if (isPersonal) return
    for (const tag of tags.tagsOf(repository, descriptor.digest)) await cache.putManifest(bytes, { ...origin, tag })
  }

  async #isPublic(repository: Repository, digest: Digest, access: Access, signal: AbortSignal): Promise<boolean> {
    const { rights } = this.#options
    if (access !== 'unknown') return access !== 'imported'
    // `share` needs no proof, so the registry is not asked.
    if (rights.sharesAll) return rights.knownVerdict(repository) === true
    return rights.isPublic(repository, { kind: 'manifests', digest }, { signal })
  }

  async #held(repository: Repository, digest: Digest, signal: AbortSignal): Promise<HeldManifest | undefined> {
    const remembered = this.#memory.get(repository, digest)
    if (remembered?.told?.isRegistrys === true) return remembered
    const bytes = remembered?.bytes ?? (await this.#stored(digest, signal))
    if (bytes === undefined) return undefined
    const recorded = await this.#options.store.mediaType(digest, repository, { signal })
    const hint = remembered?.told ?? recorded ?? remembered?.hint
    return { bytes, told: recorded?.isRegistrys === true ? recorded : hint }
  }

  #stored(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return readManifest(this.#options.store, digest, { signal })
  }
}

/** What a fetch for the same repository is about to bring. */
async function underWay(pending: Promise<DeliveredManifest>, signal: AbortSignal): Promise<HeldManifest | undefined> {
  try {
    const { bytes, descriptor, isRegistrys } = await withDeadline(
      UNDER_WAY_PATIENCE,
      'waiting for a manifest',
      signal,
      () => pending,
    )
    return { bytes, told: { mediaType: descriptor.mediaType, isRegistrys } }
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

function keyOf(repository: Repository, digest: Digest, caller?: Caller): string {
  return `${repositoryKey(repository)}@${digest} ${caller?.id ?? ''}`
}

/** What a client that has read this manifest is going to ask for: of an index it will be some. */
function itemsOf(repository: Repository, manifest: Manifest): SwarmItem[] {
  const kind = manifest.kind === 'index' ? 'manifest' : 'blob'
  return manifest.children
    .slice(0, MAX_PREPARED)
    .map(({ digest }) => ({ repository, content: { kind, digest } as const }))
}
