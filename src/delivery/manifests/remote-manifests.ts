import { hedge } from '../../async/hedge.ts'
import { type Digest, matchesDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { isLocalRegistry } from '../../oci/local-registry.ts'
import { tellsMediaType, UNKNOWN_MEDIA_TYPE } from '../../oci/manifest.ts'
import type { Repository } from '../../oci/reference.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { PeerClient, PeerManifest } from '../../peers/peer-client.ts'
import { PeerError } from '../../peers/peer-transport.ts'
import { keyOfDigest } from '../../providers/index-key.ts'
import type { ProviderIndex } from '../../providers/provider-index.ts'
import type { Direction, LeftSource, Membership, SharedFailure, Swarm, SwarmSource } from '../../swarm/swarm.ts'
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { DeadlineError, withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import { unexplainedText } from '../../upstream/unexplained-text.ts'
import { type Upstream, UpstreamError } from '../../upstream/upstream.ts'
import { askWithin } from '../ask-within.ts'
import type { Caller } from '../access/audience.ts'
import { type DeliveredManifest, descriptorOf } from './delivered-manifest.ts'
import { NotFetchedError, type RegistryPolicy, includesRegistry } from '../access/registry-policy.ts'
import type { Rights } from '../access/rights.ts'

export interface ManifestRequest {
  readonly repository: Repository
  readonly digest: Digest
  /** The client whose credentials fetch it, where the node's own do not suffice. */
  readonly caller?: Caller | undefined
}

export interface RemoteManifestsOptions {
  readonly swarm: Pick<Swarm, 'enter'>
  readonly index: Pick<ProviderIndex, 'find' | 'disprove'>
  readonly peers: Pick<PeerClient, 'getManifest'>
  readonly upstream: Pick<Upstream, 'getManifest'>
  readonly policy: RegistryPolicy
  readonly rights: Pick<Rights, 'mayShare' | 'mayOffer' | 'vouchesFor' | 'isRefused'>
  /** True in a cluster with a secret: a peer's word about the media type of a manifest counts as its registry's where the bytes tell none. */
  readonly believesPeers: boolean
  /** As whom a registry counts this node's pulls, as far as that is known. */
  readonly countedAs?: ((registry: string) => readonly string[]) | undefined
  readonly log: Log
}

type Found =
  | { readonly type: 'found'; readonly manifest: DeliveredManifest }
  | { readonly type: 'failed'; readonly failure: SharedFailure; readonly cause?: unknown }

const HEDGE_DELAY = 200
const MAX_PEERS_TRIED = 8
const MAX_QUESTIONS = 4
/** For the swarm's answers and what they lead to: what is left of the client's own deadline is for doing without. */
const SWARM_PATIENCE = 5 * second
const HOLDER_PATIENCE = 2 * second
/** An upstream that has not sent the manifest by then gets company from the holders. */
const UPSTREAM_PATIENCE = 2 * second
/** How long a node that is just getting a manifest lets its neighbours wait for it. */
export const UNDER_WAY_PATIENCE = 4 * second
/** No longer text is told to other nodes. */
const MAX_REASON_LENGTH = 300

/** Manifests from elsewhere: from whom the swarm names, else from the holders that the index knows, else from the upstream. */
export class RemoteManifests {
  readonly #options: RemoteManifestsOptions

  constructor(options: RemoteManifestsOptions) {
    this.#options = options
  }

  /** A verified manifest; throws OciError when nobody gives it. The neighbours are sent here for it once `keep` has ended. */
  async fetch(
    request: ManifestRequest,
    options: { signal: AbortSignal; keep: (manifest: DeliveredManifest) => Promise<void> },
  ): Promise<DeliveredManifest> {
    const { signal, keep } = options
    const membership = this.#enter(request)
    try {
      const found = membership ? await this.#together(request, membership, signal) : await this.#alone(request, signal)
      if (found.type === 'failed') {
        membership?.leave({ type: 'failed', failure: found.failure })
        throw refusal(request, found.cause)
      }
      await keep(found.manifest)
      if (membership !== undefined) void this.#offer(request, membership)
      return found.manifest
    } catch (error) {
      membership?.leave({ type: 'cancelled' })
      throw error
    }
  }

  /** undefined for private content, and for registries that `--fallback` excludes: nodes do not fetch these together. */
  #enter({ repository, digest, caller }: ManifestRequest): Membership | undefined {
    const { swarm, policy, rights } = this.#options
    if (caller !== undefined || !rights.mayShare(repository)) return undefined
    if (!includesRegistry(policy.fallback, repository.registry)) return undefined
    return swarm.enter({ repository, content: { kind: 'manifest', digest } })
  }

  /** Offers the manifest to neighbours, unless this node may not serve it to them. */
  async #offer({ repository, digest }: ManifestRequest, membership: Membership): Promise<void> {
    const options = { signal: AbortSignal.timeout(UNDER_WAY_PATIENCE) }
    const content = { kind: 'manifests', digest } as const
    const offered = await this.#options.rights.mayOffer(repository, content, options).catch(() => false)
    membership.leave({ type: offered ? 'complete' : 'cancelled' })
  }

  async #together(request: ManifestRequest, membership: Membership, signal: AbortSignal): Promise<Found> {
    const until = performance.now() + SWARM_PATIENCE
    let left: readonly LeftSource[] = []
    let recall = new AbortController()
    membership.onRecall(() => recall.abort())
    for (let asked = 0; asked < MAX_QUESTIONS && performance.now() < until; asked += 1) {
      recall = new AbortController()
      const direction = await askWithin(until - performance.now(), membership, { serves: true, left }, signal)
      switch (direction.type) {
        case 'upstream':
          return this.#lead(request, signal)
        case 'failed':
          if (this.#isSomebodyElse(request, direction.failure)) return this.#alone(request, signal)
          throw told(request, direction)
        case 'alone':
        case 'known':
          return this.#alone(request, signal)
        case 'follow': {
          const options = { signal: AbortSignal.any([signal, recall.signal]), patience: until - performance.now() }
          const followed = await this.#follow(request, direction.sources, options)
          signal.throwIfAborted()
          if (followed.manifest !== undefined) return { type: 'found', manifest: followed.manifest }
          if (followed.isPrivate) return this.#alone(request, signal)
          left = followed.left
        }
      }
    }
    return this.#alone(request, signal)
  }

  async #follow(
    request: ManifestRequest,
    sources: readonly SwarmSource[],
    options: { signal: AbortSignal; patience: number },
  ): Promise<{ manifest: DeliveredManifest | undefined; left: readonly LeftSource[]; isPrivate: boolean }> {
    const left: LeftSource[] = []
    const byPeer = new Map(sources.map((source) => [source.peer, source]))
    const patienceOf = (peer: Peer) =>
      Math.min(options.patience, byPeer.get(peer)?.complete === true ? HOLDER_PATIENCE : UNDER_WAY_PATIENCE)
    const note = (peer: Peer, reason: LeftSource['reason']) => {
      // A peer whose own fetch failed made no false claim to hold it.
      const isClaim = reason !== 'absent' || byPeer.get(peer)?.complete === true
      left.push({ id: peer.id, reason: isClaim ? reason : 'broken' })
    }
    const manifest = await this.#race(request, [...byPeer.keys()], { signal: options.signal, patienceOf, note }).catch(
      // Recalled: ask the swarm for a better source.
      () => undefined,
    )
    // A peer that fetched it for this repository and refuses it knows the repository as private.
    const isPrivate = left.some(
      ({ id, reason }) => reason === 'refused' && sources.some(({ peer, complete }) => peer.id === id && !complete),
    )
    return { manifest, left, isPrivate }
  }

  /** Another node's quota is used up, and this one's may not be. */
  #isSomebodyElse({ repository }: ManifestRequest, { source }: SharedFailure): boolean {
    const own = this.#options.countedAs?.(repository.registry) ?? []
    return source !== undefined && own.length > 0 && !own.includes(source)
  }

  /**
   * From the upstream. The coordinator may know no holder where the index knows one: holders are asked when the upstream fails or is slow, and not when it
   * says that the manifest does not exist or is not for this client.
   */
  async #lead(request: ManifestRequest, signal: AbortSignal): Promise<Found> {
    let failure: Found = failed(request)
    const fromUpstream = async (signal: AbortSignal): Promise<Found | undefined> => {
      failure = await this.#fromUpstream(request, signal)
      return failure.type === 'found' || isVerdict(failure.cause) ? failure : undefined
    }
    const fromHolders = async (signal: AbortSignal): Promise<Found | undefined> => {
      const manifest = await this.#fromHolders(request, signal)
      return manifest && { type: 'found', manifest }
    }
    const ways = [fromUpstream, fromHolders]
    const winner = await hedge(ways, (ask, { signal }) => ask(signal), { delay: UPSTREAM_PATIENCE, signal })
    return winner?.value ?? failure
  }

  async #alone(request: ManifestRequest, signal: AbortSignal): Promise<Found> {
    const manifest = await this.#fromHolders(request, signal)
    if (manifest !== undefined) return { type: 'found', manifest }
    const { registry } = request.repository
    const { policy } = this.#options
    if (includesRegistry(policy.fallback, registry)) return this.#fromUpstream(request, signal)
    return failed(request, new NotFetchedError(registry, policy))
  }

  async #fromHolders(request: ManifestRequest, signal: AbortSignal): Promise<DeliveredManifest | undefined> {
    const { index } = this.#options
    // A local registry (`localhost`) is a different registry on each peer.
    if (isLocalRegistry(request.repository.registry)) return undefined
    const key = keyOfDigest(request.digest)
    const holders = (await index.find(key, { signal })).slice(0, MAX_PEERS_TRIED)
    return this.#race(request, holders, {
      signal,
      patienceOf: () => HOLDER_PATIENCE,
      note: (peer, reason) => {
        if (reason === 'absent') index.disprove(key, peer)
      },
    })
  }

  async #fromUpstream(request: ManifestRequest, signal: AbortSignal): Promise<Found> {
    const { repository, digest, caller } = request
    let found
    if (this.#options.rights.isRefused(caller, repository)) {
      const cause = new UpstreamError('denied', `${repository.registry} has just refused this client`)
      return failed(request, cause)
    }
    try {
      found = await this.#options.upstream.getManifest(repository, digest, { signal, as: caller?.credential ?? 'node' })
    } catch (cause) {
      return failed(request, cause)
    }
    if (found === undefined) return failed(request)
    const { descriptor, bytes, anonymous } = found
    const access = anonymous ? 'public' : 'unknown'
    return { type: 'found', manifest: { descriptor, bytes, isRegistrys: true, source: 'upstream', access } }
  }

  /** The first of these that gives it, verified. `note` is told of the others. */
  async #race(
    { repository, digest, caller }: ManifestRequest,
    candidates: readonly Peer[],
    options: {
      signal: AbortSignal
      patienceOf: (peer: Peer) => number
      note: (peer: Peer, reason: LeftSource['reason']) => void
    },
  ): Promise<DeliveredManifest | undefined> {
    if (candidates.length === 0) return undefined
    const { peers, rights, log } = this.#options
    const probe = { kind: 'manifests', reference: digest } as const
    const verified = await rights.vouchesFor(caller, repository, probe, options)
    const winner = await hedge<Peer, PeerManifest>(
      candidates,
      async (peer, { signal }) => {
        const what = `asking ${peer.address} for a manifest`
        const found = await withDeadline(options.patienceOf(peer), what, signal, (signal) =>
          peers.getManifest(peer, repository, digest, { signal, verified }),
        )
        if (found === undefined) options.note(peer, 'absent')
        else if (!matchesDigest(found.bytes, digest))
          throw new PeerError('invalid', `${peer.address} sent a manifest that is not ${digest}`)
        return found
      },
      {
        delay: HEDGE_DELAY,
        signal: options.signal,
        onFailure: (peer, error) => {
          options.note(peer, reasonOf(error))
          log.warn({ peer: peer.address, digest, err: errorText(error) }, 'a peer did not give a manifest')
        },
      },
    )
    if (winner === undefined) return undefined
    const { bytes, access, mediaType } = winner.value
    // The digest does not cover the media type, so no peer may contradict the bytes. Where any host can be a node, its word is always a hint.
    const told = mediaType === undefined ? undefined : { mediaType, isRegistrys: false }
    const descriptor = descriptorOf(digest, { bytes, told })
    const isTold = told !== undefined && told.mediaType.toLowerCase() !== UNKNOWN_MEDIA_TYPE
    const isRegistrys = isTold && this.#options.believesPeers && !tellsMediaType(bytes)
    return { descriptor, bytes, isRegistrys, access, source: 'peer', peer: winner.candidate.address }
  }
}

/** Whether the registry has said that there is no such manifest (undefined), or not for this client. */
function isVerdict(cause: unknown): boolean {
  return cause === undefined || (cause instanceof UpstreamError && cause.reason === 'denied')
}

function told(request: ManifestRequest, direction: Extract<Direction, { type: 'failed' }>): OciError {
  return refusal(request, direction.failure.absent ? undefined : new ToldFailureError(direction))
}

/** `cause` is undefined if the registry says that there is no such manifest. */
function refusal({ repository, digest }: ManifestRequest, cause?: unknown): OciError {
  const why = cause === undefined ? `nor has ${repository.registry}` : `and ${errorText(cause)}`
  return new OciError('MANIFEST_UNKNOWN', { message: `${digest}: no node has it, ${why}`, cause })
}

function failed({ repository }: ManifestRequest, cause?: unknown): Found {
  const absent = cause === undefined
  const message = (absent ? `${repository.registry} does not have it` : unexplainedText(cause)).slice(
    0,
    MAX_REASON_LENGTH,
  )
  const source = cause instanceof UpstreamError ? cause.limit?.source : undefined
  return { type: 'failed', failure: { absent, message, source }, cause }
}

function reasonOf(error: unknown): LeftSource['reason'] {
  if (error instanceof DeadlineError) return 'stalled'
  if (!(error instanceof PeerError) || error.reason === 'unreachable') return 'broken'
  if (error.reason === 'slow') return 'stalled'
  return error.reason === 'invalid' ? 'wrong' : error.reason
}
