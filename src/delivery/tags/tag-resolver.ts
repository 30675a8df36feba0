import { MANIFEST_ACCEPT } from '../../oci/manifest.ts'
import { OciError } from '../../oci/errors.ts'
import { isLocalRegistry } from '../../oci/local-registry.ts'
import { type Repository, type TagReference, tagKey } from '../../oci/reference.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { PeerClient } from '../../peers/peer-client.ts'
import { keyOfTag } from '../../providers/index-key.ts'
import type { ProviderIndex } from '../../providers/provider-index.ts'
import type { ContentStore, KnownTag } from '../../store/content-store.ts'
import type { Swarm } from '../../swarm/swarm.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import { type Upstream, UpstreamError } from '../../upstream/upstream.ts'
import type { Audience, Caller } from '../access/audience.ts'
import { NotFetchedError, type RegistryPolicy } from '../access/registry-policy.ts'
import { MAX_SKEW, SharedTags } from './shared-tags.ts'
import type { StaleTags } from './stale-tags.ts'
import type { TagMemory } from './tag-memory.ts'
import type { SourceKind } from '../blobs/transfer-record.ts'
import type { Access } from '../access/provenance.ts'
import type { Rights } from '../access/rights.ts'

export interface ResolvedTag extends KnownTag {
  readonly source: SourceKind
  readonly peer?: string
}

/** What this node's store says about a tag, and why an audience may be told. */
export interface LocalTag extends KnownTag {
  readonly access: Access
}

/** Whose images count: any, or only those that came from no registry. */
type WhichTags = 'any' | 'imported'

/**
 * Where the digest of a tag comes from. `fresh`: from the registry, asked once for all nodes, and from other nodes when it fails; an imported
 * image's also when the registry does not have it. `peers`: from other nodes, and from the registry when none knows the tag. `own`: from the registry and this node alone.
 */
export type TagPolicy = 'fresh' | 'peers' | 'own'

export interface TagResolverOptions {
  readonly store: Pick<ContentStore, 'resolve'>
  readonly index: Pick<ProviderIndex, 'find' | 'disprove'>
  readonly peers: Pick<PeerClient, 'resolveTag'>
  readonly upstream: Pick<Upstream, 'headManifest'>
  readonly swarm: Pick<Swarm, 'enter' | 'prepare'>
  readonly policy: RegistryPolicy
  readonly tagPolicy: TagPolicy
  /** False in a cluster without a secret, where any host could name another digest for a tag. */
  readonly believesPeers: boolean
  readonly rights: Rights
  readonly tags: TagMemory
  /** Told of each tag that is answered without its upstream though that was asked. */
  readonly staleTags?: Pick<StaleTags, 'note'>
  readonly log: Log
}

const PEER_TIMEOUT = 2 * second
const MAX_PEERS_ASKED = 8

/**
 * What a tag names: fresh from the upstream when it answers, else the latest that this node or a neighbour knows. Neighbours count only where
 * {@link TagResolver.asksNeighbours}.
 */
export class TagResolver {
  /** Whether what other nodes say about tags counts. */
  readonly asksNeighbours: boolean
  readonly #options: TagResolverOptions
  readonly #shared: SharedTags

  constructor(options: TagResolverOptions) {
    this.#options = options
    this.asksNeighbours = options.believesPeers && options.tagPolicy !== 'own'
    this.#shared = new SharedTags({ ...options, isShared: this.asksNeighbours })
  }

  /** Throws OciError if no source knows the tag. `accept` is what the client sent, if it sent anything. */
  async resolve(
    tag: TagReference,
    accept: readonly string[],
    signal: AbortSignal,
    caller?: Caller,
  ): Promise<ResolvedTag> {
    if (this.#options.tagPolicy === 'peers') {
      const known = await this.#fromNodes(tag, 'any', caller, signal)
      if (known !== undefined) return known
    }
    const { policy } = this.#options
    if (policy.fallback === 'none')
      return this.#withoutUpstream(tag, new NotFetchedError(tag.registry, policy), caller, signal)
    let found
    try {
      found = await this.#fromUpstream(tag, accept, caller, signal)
    } catch (error) {
      signal.throwIfAborted()
      return this.#withoutUpstream(tag, error, caller, signal)
    }
    if (found === undefined) return this.#imported(tag, caller, signal)
    if (caller === undefined) this.#prepare(tag, found)
    return found
  }

  /** A tag from this node's own store; undefined if absent or without access. */
  async resolveLocal(tag: TagReference, audience: Audience, signal: AbortSignal): Promise<LocalTag | undefined> {
    const known = await this.#options.store.resolve(tag, { signal })
    if (known === undefined) return undefined
    const content = { kind: 'manifests', digest: known.descriptor.digest } as const
    const access = await this.#options.rights.access(tag, content, audience, { signal })
    if (access === undefined) return undefined
    const heard = this.#options.tags.get(tag)
    const isHeard = heard?.descriptor.digest === known.descriptor.digest && heard.asOf > known.asOf
    return { ...known, access, ...(isHeard ? { asOf: heard.asOf } : {}) }
  }

  /** The client is going to ask for it next. */
  #prepare(repository: Repository, { descriptor: { digest } }: KnownTag): void {
    const { swarm, rights } = this.#options
    if (rights.mayShare(repository)) swarm.prepare([{ repository, content: { kind: 'manifest', digest } }])
  }

  async #fromUpstream(
    tag: TagReference,
    accept: readonly string[],
    caller: Caller | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedTag | undefined> {
    // The registry's answer to a caller's credentials is for that caller alone.
    if (caller !== undefined) {
      return this.#shared.askFor(tag, accept.length === 0 ? MANIFEST_ACCEPT : accept, signal, caller)
    }
    const shared = await this.#shared.ask(tag, signal)
    if (shared === undefined || accepts(accept, shared.descriptor.mediaType)) return shared
    return this.#shared.askFor(tag, accept, signal)
  }

  async #withoutUpstream(
    tag: TagReference,
    failure: unknown,
    caller: Caller | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedTag> {
    // The registry has just refused the caller: nodes must not answer in its place, but with what is not the registry's.
    const isRefused = caller !== undefined && failure instanceof UpstreamError && failure.reason === 'denied'
    const isAsked = this.#options.tagPolicy !== 'peers'
    const known = isAsked ? await this.#fromNodes(tag, isRefused ? 'imported' : 'any', caller, signal) : undefined
    const why = errorText(failure)
    if (known === undefined) {
      throw new OciError('MANIFEST_UNKNOWN', {
        message: `${tagKey(tag)}: ${this.asksNeighbours ? 'no node knows it' : 'this node does not know it'}, and ${why}`,
        cause: failure,
      })
    }
    const ageSeconds = Math.max(0, Math.round((Date.now() - known.asOf) / second))
    if (!(failure instanceof NotFetchedError)) this.#options.staleTags?.note(ageSeconds)
    this.#options.log.warn(
      { tag: tagKey(tag), digest: known.descriptor.digest, ageSeconds, why },
      'a tag is answered without its upstream',
    )
    return known
  }

  /**
   * A tag that its registry does not have: somebody may have imported an image of that name. A tag of an image that was pulled has been deleted
   * at its registry. Throws OciError.
   */
  async #imported(tag: TagReference, caller: Caller | undefined, signal: AbortSignal): Promise<ResolvedTag> {
    const known = await this.#fromNodes(tag, 'imported', caller, signal)
    if (known === undefined)
      throw new OciError('MANIFEST_UNKNOWN', { message: `${tagKey(tag)} does not exist at ${tag.registry}` })
    const fields = { tag: tagKey(tag), digest: known.descriptor.digest, peer: known.peer }
    this.#options.log.debug(fields, 'a tag that its registry does not have is that of an imported image')
    return known
  }

  /** The latest that this node and its neighbours know. */
  async #fromNodes(
    tag: TagReference,
    which: WhichTags,
    caller: Caller | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedTag | undefined> {
    const local = this.resolveLocal(tag, { kind: 'node', caller }, signal).then(
      (known) => known && { ...known, source: 'local' as const },
      () => undefined,
    )
    // A local registry (`localhost`) is a different registry on each peer.
    const mayAsk = this.asksNeighbours && !isLocalRegistry(tag.registry)
    const found = mayAsk ? await this.#options.index.find(keyOfTag(tag), { signal }) : []
    const peers = found.slice(0, MAX_PEERS_ASKED)
    const probe = { kind: 'manifests', reference: tag.tag } as const
    // An imported image is for everybody.
    const isVouched = peers.length > 0 && which === 'any'
    const verified = isVouched && (await this.#options.rights.vouchesFor(caller, tag, probe, { signal }))
    const answers = await Promise.all([local, ...peers.map((peer) => this.#askPeer(peer, tag, verified, signal))])
    signal.throwIfAborted()
    const known = answers.filter((answer) => answer !== undefined)
    const counted = known.filter(({ access }) => which === 'any' || access === 'imported')
    const [latest] = counted.sort((a, b) => b.asOf - a.asOf)
    if (latest === undefined) return undefined
    const { access: _, ...resolved } = latest
    return resolved
  }

  async #askPeer(
    peer: Peer,
    tag: TagReference,
    verified: boolean,
    signal: AbortSignal,
  ): Promise<(ResolvedTag & { readonly access: Access }) | undefined> {
    try {
      const known = await withDeadline(PEER_TIMEOUT, `asking ${peer.address} for a tag`, signal, (signal) =>
        this.#options.peers.resolveTag(peer, tag, { signal, verified }),
      )
      if (known === undefined) this.#options.index.disprove(keyOfTag(tag), peer)
      return (
        known && { ...known, asOf: Math.min(known.asOf, Date.now() + MAX_SKEW), source: 'peer', peer: peer.address }
      )
    } catch (error) {
      if (!signal.aborted)
        this.#options.log.debug({ peer: peer.address, err: errorText(error) }, 'a peer did not resolve a tag')
      return undefined
    }
  }
}

/** Whether an `Accept` header's types include one; a client that sends none takes what comes. */
export function accepts(types: readonly string[], mediaType: string): boolean {
  const accepted = ['*/*', 'application/*', mediaType.toLowerCase()]
  return types.length === 0 || types.some((type) => accepted.includes(type.toLowerCase()))
}
