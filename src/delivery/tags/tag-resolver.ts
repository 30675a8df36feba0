import { Standby } from '../../async/standby.ts'
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
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import { type Upstream, UpstreamError } from '../../upstream/upstream.ts'
import type { Audience, Caller } from '../access/audience.ts'
import { NotFetchedError, type RegistryPolicy } from '../access/registry-policy.ts'
import { MAX_SKEW, SharedTags, UPSTREAM_PATIENCE, slowUpstream } from './shared-tags.ts'
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

/** What one node says about a tag, and why it may say so. */
type NodeAnswer = ResolvedTag & LocalTag

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
  /** Deadline for a registry's answer, in milliseconds. */
  readonly upstreamTimeout: number
  /** Told of each tag that is answered without its upstream though that was asked. */
  readonly staleTags?: Pick<StaleTags, 'note'>
  readonly log: Log
}

/** What one resolution is for. */
interface Resolving {
  readonly tag: TagReference
  /** What the client sent, if it sent anything. */
  readonly accept: readonly string[]
  readonly caller: Caller | undefined
  readonly signal: AbortSignal
}

const PEER_TIMEOUT = 2 * second
/**
 * After this long the nodes are asked beside the registry: longer than a registry that is well takes for a token and a HEAD, and early enough that their
 * answers are there when the registry counts as slow.
 */
const NODES_DELAY = 1 * second
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

  /**
   * Throws OciError if no source knows the tag. `accept` is what the client sent, if it sent anything. `isPatient`: a client that cannot go on elsewhere
   * waits for a slow registry, for as long as `upstreamTimeout`, if no node knows the tag.
   */
  async resolve(
    tag: TagReference,
    accept: readonly string[],
    signal: AbortSignal,
    caller?: Caller,
    { isPatient = false }: { readonly isPatient?: boolean } = {},
  ): Promise<ResolvedTag> {
    const asked = { tag, accept, caller, signal }
    const { policy, tagPolicy } = this.#options
    const known = tagPolicy === 'peers' ? latestOf(await this.#fromNodes(asked)) : undefined
    if (known !== undefined) return known
    if (policy.fallback === 'none') {
      const found = tagPolicy === 'peers' ? [] : await this.#fromNodes(asked)
      return this.#withoutUpstream(tag, new NotFetchedError(tag.registry, policy), latestOf(found))
    }
    const askNodes = async (signal: AbortSignal) =>
      tagPolicy === 'peers' ? [] : this.#fromNodes({ ...asked, signal }, { asksRegistry: false })
    const nodes = new Standby(askNodes, { delay: NODES_DELAY, signal })
    try {
      return await this.#fromUpstreamOrNodes(asked, nodes, isPatient)
    } finally {
      nodes.cancel()
    }
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

  async #fromUpstreamOrNodes(
    asked: Resolving,
    nodes: Standby<readonly NodeAnswer[]>,
    isPatient: boolean,
  ): Promise<ResolvedTag> {
    const { tag, caller, signal } = asked
    let found
    try {
      found = await this.#fromUpstream(asked, { isPatient: false }).catch((error: unknown) => {
        // The registry may be slow only, which a patient client finds out for itself.
        if (isPatient && error instanceof ToldFailureError) return 'slow' as const
        throw error
      })
      const waits = found === 'slow' && isPatient && (await nodes.result()).length === 0
      if (waits) found = await this.#fromUpstream(asked, { isPatient: true })
    } catch (error) {
      signal.throwIfAborted()
      // The registry has just refused the caller: other nodes may answer with imported images alone, which came from no registry.
      const isRefused = caller !== undefined && error instanceof UpstreamError && error.reason === 'denied'
      const answers = await nodes.result()
      return this.#withoutUpstream(tag, error, latestOf(isRefused ? importedOf(answers) : answers))
    }
    if (found === 'slow')
      return this.#withoutUpstream(tag, slowUpstream(tag, UPSTREAM_PATIENCE), latestOf(await nodes.result()))
    if (found === undefined) return this.#imported(tag, await nodes.result())
    if (caller === undefined) this.#prepare(tag, found)
    return found
  }

  /** `slow`: the registry has not answered in the time of an impatient client, and is still being asked. */
  async #fromUpstream(
    { tag, accept, caller, signal }: Resolving,
    { isPatient }: { isPatient: boolean },
  ): Promise<ResolvedTag | undefined | 'slow'> {
    // The registry's answer to a caller's credentials is for that caller alone.
    if (caller !== undefined) {
      const types = accept.length === 0 ? MANIFEST_ACCEPT : accept
      return this.#shared.askFor(tag, types, { signal, caller, isPatient })
    }
    const shared = await this.#shared.ask(tag, { signal, isPatient })
    if (shared === undefined || shared === 'slow' || accepts(accept, shared.descriptor.mediaType)) return shared
    return this.#shared.askFor(tag, accept, { signal, isPatient })
  }

  /** Answers with what the nodes know, if they know the tag. Throws OciError with the failure of the registry. */
  #withoutUpstream(tag: TagReference, failure: unknown, known: ResolvedTag | undefined): ResolvedTag {
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
  #imported(tag: TagReference, answers: readonly NodeAnswer[]): ResolvedTag {
    const known = latestOf(importedOf(answers))
    if (known === undefined)
      throw new OciError('MANIFEST_UNKNOWN', { message: `${tagKey(tag)} does not exist at ${tag.registry}` })
    const fields = { tag: tagKey(tag), digest: known.descriptor.digest, peer: known.peer }
    this.#options.log.debug(fields, 'a tag that its registry does not have is that of an imported image')
    return known
  }

  /** What this node and its neighbours know. `asksRegistry`: also for a proof that the client may see the tag. */
  async #fromNodes(
    { tag, caller, signal }: Pick<Resolving, 'tag' | 'caller' | 'signal'>,
    { asksRegistry = true }: { asksRegistry?: boolean } = {},
  ): Promise<readonly NodeAnswer[]> {
    const local = this.resolveLocal(tag, { kind: 'node', caller }, signal).then(
      (known): NodeAnswer | undefined => known && { ...known, source: 'local' },
      () => undefined,
    )
    // A local registry (`localhost`) is a different registry on each peer.
    const mayAsk = this.asksNeighbours && !isLocalRegistry(tag.registry)
    const found = mayAsk ? await this.#options.index.find(keyOfTag(tag), { signal }) : []
    const peers = found.slice(0, MAX_PEERS_ASKED)
    const probe = { kind: 'manifests', reference: tag.tag } as const
    const verified =
      peers.length > 0 && (await this.#options.rights.vouchesFor(caller, tag, probe, { signal, asksRegistry }))
    const answers = await Promise.all([local, ...peers.map((peer) => this.#askPeer(peer, tag, verified, signal))])
    signal.throwIfAborted()
    return answers.filter((answer) => answer !== undefined)
  }

  async #askPeer(
    peer: Peer,
    tag: TagReference,
    verified: boolean,
    signal: AbortSignal,
  ): Promise<NodeAnswer | undefined> {
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

/** An imported image came from no registry. */
function importedOf(answers: readonly NodeAnswer[]): readonly NodeAnswer[] {
  return answers.filter(({ access }) => access === 'imported')
}

function latestOf(answers: readonly NodeAnswer[]): ResolvedTag | undefined {
  const [latest] = answers.toSorted((a, b) => b.asOf - a.asOf)
  if (latest === undefined) return undefined
  const { access: _, ...resolved } = latest
  return resolved
}

/** Whether an `Accept` header's types include one; a client that sends none takes what comes. */
export function accepts(types: readonly string[], mediaType: string): boolean {
  const accepted = ['*/*', 'application/*', mediaType.toLowerCase()]
  return types.length === 0 || types.some((type) => accepted.includes(type.toLowerCase()))
}
