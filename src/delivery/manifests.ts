import { type Digest, matchesDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { type Descriptor, MAX_MANIFEST_BYTES, type Manifest, parseManifest } from '../oci/manifest.ts'
import type { Repository } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import type { PeerClient, PeerManifest } from '../peers/peer-client.ts'
import { keyOfDigest } from '../providers/index-key.ts'
import type { ProviderIndex } from '../providers/provider-index.ts'
import type { CacheStore } from '../store/cache-store.ts'
import type { ContentSource, ContentStore } from '../store/content-store.ts'
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
  /** Why it may be seen. */
  readonly access: ContentSource['access']
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
    const access = await this.#options.visibility.access(repository, { kind: 'manifests', digest }, audience, {
      signal,
    })
    if (access === undefined) return undefined
    const mediaType = mediaTypeOf(parseManifest(bytes))
    return { descriptor: { digest, size: bytes.length, mediaType }, bytes, source: 'local', access }
  }

  /** From wherever it can be had, once for all who ask at the same time. Throws OciError when it cannot. */
  async get(repository: Repository, digest: Digest, signal: AbortSignal): Promise<DeliveredManifest> {
    const local = await this.#getOwn(repository, digest, signal)
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

  /** A store that cannot be read must not fail a pull that others can serve. */
  async #getOwn(repository: Repository, digest: Digest, signal: AbortSignal): Promise<DeliveredManifest | undefined> {
    try {
      return await this.getLocal(repository, digest, 'node', signal)
    } catch (error) {
      signal.throwIfAborted()
      this.#options.log.error({ digest, err: errorText(error) }, 'the content store cannot be read')
      return undefined
    }
  }

  /** Takes note of a verified manifest that an upstream or a peer gave for a repository. */
  async #keep(repository: Repository, delivered: DeliveredManifest, signal: AbortSignal): Promise<void> {
    const { visibility, cache, tags } = this.#options
    const { descriptor, bytes, access } = delivered
    const members = parseManifest(bytes)?.children.map((child) => child.digest) ?? []
    visibility.noteMembers(repository, [descriptor.digest, ...members], access === 'imported' ? 'imported' : 'unknown')
    if (access === 'public') visibility.notePublic(repository)
    if (cache === undefined) return
    const probe = { kind: 'manifests', digest: descriptor.digest } as const
    const isPublic =
      access === 'unknown' ? await visibility.isPublic(repository, probe, { signal }) : access === 'public'
    const origin = { descriptor, repository, isPublic }
    await cache.putManifest(bytes, origin)
    for (const tag of tags.tagsOf(repository, descriptor.digest)) await cache.putManifest(bytes, { ...origin, tag })
  }

  async #fetch(repository: Repository, digest: Digest, signal: AbortSignal): Promise<DeliveredManifest> {
    const fromPeer = await this.#fromPeers(repository, digest, signal)
    if (fromPeer !== undefined) {
      await this.#keep(repository, fromPeer, signal)
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
    const delivered = {
      descriptor: found.descriptor,
      bytes: found.bytes,
      source: 'upstream',
      access: found.anonymous ? 'public' : 'unknown',
    } as const
    await this.#keep(repository, delivered, signal)
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
    const winner = await firstOf<Peer, PeerManifest>(
      candidates,
      async (peer, options) => {
        const found = await peers.getManifest(peer, repository, digest, options)
        if (found === undefined) index.disprove(key, peer)
        else if (!matchesDigest(found.bytes, digest))
          throw new Error(`${peer.address} sent a manifest that is not ${digest}`)
        return found
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
    const { bytes, access } = winner.value
    const descriptor = { digest, size: bytes.length, mediaType: mediaTypeOf(parseManifest(bytes)) }
    return { descriptor, bytes, access, source: 'peer', peer: winner.candidate.address }
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
