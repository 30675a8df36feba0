import { type Digest, matchesDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { type Descriptor, MAX_MANIFEST_BYTES, type Manifest, parseManifest } from '../oci/manifest.ts'
import type { Repository } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import { keyOfDigest } from '../providers/index-key.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import type { CacheStore } from '../store/cache-store.ts'
import type { ContentStore } from '../store/content-store.ts'
import { readAll } from '../store/read-all.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { abortable } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { firstOf } from './first-of.ts'
import { type RegistryPolicy, includesRegistry } from './registry-policy.ts'
import type { TagMemory } from './tag-memory.ts'
import type { SourceKind } from './transfer-record.ts'
import type { Audience, Visibility } from './visibility.ts'

/** A verified manifest. */
export interface DeliveredManifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  readonly source: SourceKind
  /** The address of the peer it came from, if it did. */
  readonly peer?: string
}

export interface ManifestsOptions {
  readonly store: ContentStore
  /** Present where Nabo fills the store itself. */
  readonly cache: CacheStore | undefined
  readonly index: Pick<ProviderIndex, 'find' | 'disprove'>
  readonly peers: Pick<PeerClient, 'getManifest'>
  readonly upstream: Pick<Upstream, 'getManifest'>
  readonly policy: RegistryPolicy
  readonly visibility: Visibility
  readonly tags: TagMemory
  readonly log: Log
}

const HEDGE_DELAY = 200
const MAX_PEERS_TRIED = 8
/** For all callers of one fetch together; each has its own, shorter deadline. */
const FETCH_TIMEOUT = 30 * second

/** Manifests by digest: from this node, a neighbour, the upstream. Always verified, since they are small. */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #pending = new Map<string, Promise<DeliveredManifest>>()

  constructor(options: ManifestsOptions) {
    this.#options = options
  }

  /** What this node holds and may show; undefined otherwise. */
  async getLocal(
    repository: Repository,
    digest: Digest,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<DeliveredManifest | undefined> {
    const bytes = await this.#read(digest, signal)
    if (bytes === undefined || !matchesDigest(bytes, digest)) return undefined
    if (!(await this.#options.visibility.mayServe(repository, { kind: 'manifests', digest }, audience, { signal })))
      return undefined
    const manifest = parseManifest(bytes)
    return { descriptor: { digest, size: bytes.length, mediaType: mediaTypeOf(manifest) }, bytes, source: 'local' }
  }

  /** From wherever it can be had, once for all who ask at the same time. Throws OciError when it cannot. */
  async get(repository: Repository, digest: Digest, signal: AbortSignal): Promise<DeliveredManifest> {
    const local = await this.getLocal(repository, digest, 'node', signal)
    if (local !== undefined) return local
    const key = `${repository.registry}/${repository.name}@${digest}`
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      pending = this.#fetch(repository, digest, AbortSignal.timeout(FETCH_TIMEOUT)).finally(() =>
        this.#pending.delete(key),
      )
      this.#pending.set(key, pending)
    }
    return abortable(pending, signal)
  }

  /** Takes note of a verified manifest that an upstream or a peer gave for a repository. */
  async keep(
    repository: Repository,
    delivered: DeliveredManifest,
    isPublic: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { visibility, cache, tags } = this.#options
    const { descriptor, bytes } = delivered
    const members = parseManifest(bytes)?.children.map((child) => child.digest) ?? []
    visibility.noteMembers(repository, [descriptor.digest, ...members])
    if (isPublic) visibility.notePublic(repository)
    if (cache === undefined) return
    const open =
      isPublic || (await visibility.isPublic(repository, { kind: 'manifests', digest: descriptor.digest }, { signal }))
    const origin = { descriptor, repository, isPublic: open }
    await cache.putManifest(bytes, origin)
    for (const tag of tags.tagsOf(repository, descriptor.digest)) await cache.putManifest(bytes, { ...origin, tag })
  }

  async #fetch(repository: Repository, digest: Digest, signal: AbortSignal): Promise<DeliveredManifest> {
    const fromPeer = await this.#fromPeers(repository, digest, signal)
    if (fromPeer !== undefined) {
      // A peer shows only what is public.
      await this.keep(repository, fromPeer, true, signal)
      return fromPeer
    }
    const { policy, upstream } = this.#options
    if (!includesRegistry(policy.fallback, repository.registry)) {
      throw new OciError('MANIFEST_UNKNOWN', {
        message: `${digest}: no node has it, and ${repository.registry} is not fetched by the mirror`,
      })
    }
    let found
    try {
      found = await upstream.getManifest(repository, digest, { signal })
    } catch (cause) {
      throw new OciError('MANIFEST_UNKNOWN', { message: `${digest}: no node has it, and ${errorText(cause)}`, cause })
    }
    if (found === undefined) {
      throw new OciError('MANIFEST_UNKNOWN', { message: `${digest}: no node has it, nor has ${repository.registry}` })
    }
    const delivered = { descriptor: found.descriptor, bytes: found.bytes, source: 'upstream' } as const
    await this.keep(repository, delivered, found.anonymous, signal)
    return delivered
  }

  async #fromPeers(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<DeliveredManifest | undefined> {
    const { index, peers, log } = this.#options
    const key = keyOfDigest(digest)
    const candidates = (await index.find(key, { signal })).slice(0, MAX_PEERS_TRIED)
    const winner = await firstOf<Peer, Uint8Array>(
      candidates,
      async (peer, options) => {
        const bytes = await peers.getManifest(peer, repository, digest, options)
        if (bytes === undefined) index.disprove(key, peer)
        else if (!matchesDigest(bytes, digest)) throw new Error(`${peer.address} sent a manifest that is not ${digest}`)
        return bytes
      },
      {
        hedgeDelay: HEDGE_DELAY,
        signal,
        discard: () => {},
        failed: (peer, error) =>
          log.warn({ peer: peer.address, digest, err: errorText(error) }, 'a peer did not give a manifest'),
      },
    )
    if (winner === undefined) return undefined
    const descriptor = { digest, size: winner.value.length, mediaType: mediaTypeOf(parseManifest(winner.value)) }
    return { descriptor, bytes: winner.value, source: 'peer', peer: winner.candidate.address }
  }

  async #read(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const blob = await this.#options.store.open(digest, { signal })
    // Something larger that was asked for as a manifest is a layer, and no manifest.
    return blob && readAll(blob, MAX_MANIFEST_BYTES)
  }
}

/** A manifest of another kind (schema 1, an artifact of its own) still has bytes and a digest. */
function mediaTypeOf(manifest: Manifest | undefined): string {
  return manifest?.mediaType ?? 'application/octet-stream'
}
