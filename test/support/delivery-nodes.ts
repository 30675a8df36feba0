import { PEER } from '../../src/delivery/access/audience.ts'
import { CallerProofs } from '../../src/delivery/access/caller-proofs.ts'
import { Provenance } from '../../src/delivery/access/provenance.ts'
import { PublicProofs } from '../../src/delivery/access/public-proofs.ts'
import { Rights, type RightsOptions } from '../../src/delivery/access/rights.ts'
import { KnownSizes } from '../../src/delivery/blobs/known-sizes.ts'
import { Manifests, type ManifestsOptions } from '../../src/delivery/manifests/manifests.ts'
import { TagMemory } from '../../src/delivery/tags/tag-memory.ts'
import { TagResolver } from '../../src/delivery/tags/tag-resolver.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { type Repository, repositoryKey } from '../../src/oci/reference.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import type { PeerManifest } from '../../src/peers/peer-client.ts'
import { PeerError } from '../../src/peers/peer-transport.ts'
import { abortable } from '../../src/time/deadline.ts'
import {
  type Upstream,
  UpstreamError,
  type UpstreamManifest,
  type UpstreamOptions,
  type UpstreamProof,
  type UpstreamQuestion,
} from '../../src/upstream/upstream.ts'
import { FakeSwarm } from './fake-swarm.ts'
import { MemoryStore } from './memory-store.ts'

export interface DeliveryNode {
  readonly peer: Peer
  readonly store: MemoryStore
  readonly manifests: Manifests
  readonly tags: TagResolver
  readonly rights: Rights
  readonly sizes: KnownSizes
  readonly warnings: string[]
}

type Answer = UpstreamManifest | undefined

/** The rights of a node whose own credentials are good, in a cluster with a secret, over the registries that `upstream` asks. */
export function makeRights(
  options: Pick<RightsOptions, 'store'> & Partial<RightsOptions> & { readonly upstream: Pick<Upstream, 'shows'> },
): Rights {
  const { upstream, ...rest } = options
  const publicProofs = new PublicProofs({ upstream, believesPeers: rest.believesPeers ?? true })
  return new Rights({
    provenance: new Provenance(),
    publicProofs,
    callers: new CallerProofs({
      upstream,
      onAnonymous: (repository, reference) => publicProofs.shown(repository, reference),
    }),
    registries: { mirrored: 'all', fallback: new Set(['docker.io']) },
    policy: 'verify',
    hasCredentials: true,
    isBelieved: true,
    ...rest,
  })
}

/** What a HEAD of a manifest proves. */
export function proofOf(
  found: { readonly descriptor: { readonly digest: Digest }; readonly anonymous: boolean } | undefined,
): UpstreamProof | undefined {
  return found && { digest: found.descriptor.digest, anonymous: found.anonymous }
}

/** An upstream in memory that writes down who asked for what. Each answer waits for the gate, if there is one. */
export class FakeUpstream {
  /** `n3 GET 1`, in the order of the questions. */
  readonly asked: string[] = []
  /** What it has, by tag and digest. */
  readonly content = new Map<string, UpstreamManifest>()
  failure: UpstreamError | undefined
  /** Nothing is answered before it opens. */
  gate: Promise<void> | undefined
  /** False: asking without credentials is refused, and this node's are good. */
  isPublic = true

  of(id: string) {
    const head = (_: Repository, reference: string, options: UpstreamOptions) =>
      this.#answer(`${id} HEAD ${reference}`, reference, options)
    return {
      headManifest: head,
      shows: async (repository: Repository, { reference }: UpstreamQuestion, options: UpstreamOptions) =>
        proofOf(await head(repository, reference, options)),
      getManifest: (_: Repository, reference: string, options: UpstreamOptions) =>
        this.#answer(`${id} GET ${reference}`, reference, options),
    }
  }

  count(method: 'HEAD' | 'GET'): number {
    return this.asked.filter((line) => line.includes(` ${method} `)).length
  }

  async #answer(line: string, reference: string, options: UpstreamOptions): Promise<Answer> {
    this.asked.push(options.as === 'anonymous' ? `${line} anonymous` : line)
    if (this.gate !== undefined) await abortable(this.gate, options.signal)
    if (this.failure !== undefined) throw this.failure
    if (!this.isPublic && options.as === 'anonymous') throw new UpstreamError('denied', 'docker.io denies access: 401')
    const found = this.content.get(reference)
    return found && { ...found, anonymous: this.isPublic }
  }
}

/** Nodes in one process that fetch manifests from each other by function calls, over one swarm and one upstream. */
export class DeliveryNodes {
  readonly swarm = new FakeSwarm()
  readonly upstream = new FakeUpstream()
  readonly nodes: DeliveryNode[] = []
  /** What a node sends instead of the bytes that it has. */
  readonly lies = new Map<string, Uint8Array>()
  readonly #dead = new Map<string, PromiseWithResolvers<never>>()

  /** `rights`: what is not as in {@link makeRights}. */
  add(
    options: {
      privateImages?: 'verify' | 'share'
      rights?: Pick<Partial<RightsOptions>, 'hasCredentials' | 'believesPeers'>
    } & Partial<Omit<ManifestsOptions, 'rights'>> = {},
  ): DeliveryNode {
    const { privateImages = 'verify', rights: changes, ...rest } = options
    const id = `n${this.nodes.length}`
    const peer = { id, address: `${id}:7951` }
    const death = Promise.withResolvers<never>()
    death.promise.catch(() => {})
    this.#dead.set(id, death)
    const store = new MemoryStore()
    const upstream = this.upstream.of(id)
    const rights = makeRights({ store, upstream, policy: privateImages, ...changes })
    const [tagMemory, sizes, warnings] = [new TagMemory(), new KnownSizes(), [] as string[]]
    const warn = (fields: object, message: string) => void warnings.push(`${JSON.stringify(fields)} ${message}`)
    const common = {
      store,
      index: { find: async () => [], disprove: () => {} },
      upstream,
      swarm: this.swarm.member(peer),
      policy: { mirrored: 'all', fallback: new Set(['docker.io']) },
      rights,
      believesPeers: true,
      tags: tagMemory,
      upstreamTimeout: 20_000,
      log: { debug: () => {}, info: () => {}, warn, error: warn },
    } as const
    const peers = {
      getManifest: (source: Peer, ...asked: [Repository, Digest, { signal: AbortSignal }]) =>
        this.#serve(source, ...asked),
      resolveTag: async () => undefined,
    }
    const node = {
      peer,
      store,
      rights,
      sizes,
      warnings,
      manifests: new Manifests({ ...common, cache: undefined, peers, sizes, ...rest }),
      tags: new TagResolver({ ...common, peers, tagPolicy: 'fresh' }),
    }
    this.nodes.push(node)
    return node
  }

  /** It goes in the middle of what it does; the swarm notices at once. */
  kill(id: string): void {
    this.#dead.get(id)?.reject(new PeerError('unreachable', `${id} broke off`))
    this.swarm.kill(id)
  }

  /** As the peer listener does it. */
  async #serve(
    source: Peer,
    repository: Repository,
    digest: Digest,
    { signal }: { signal: AbortSignal },
  ): Promise<PeerManifest | undefined> {
    const node = this.nodes.find(({ peer }) => peer.id === source.id)
    const death = this.#dead.get(source.id)
    if (node === undefined || death === undefined) throw new PeerError('unreachable', `${source.id} is nobody`)
    const answer = async () => {
      const found = await node.manifests.getLocal(repository, digest, PEER, signal)
      if (found !== undefined) {
        const { mediaType } = found.descriptor
        return { bytes: this.lies.get(source.id) ?? found.bytes, mediaType, access: found.access }
      }
      if (!(await node.manifests.holds(digest, signal))) return undefined
      throw new PeerError('refused', `${repositoryKey(repository)} is not for you`)
    }
    return Promise.race([answer(), death.promise])
  }
}
