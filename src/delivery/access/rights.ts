import { isLocalRegistry } from '../../oci/local-registry.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ContentSource, ContentStore } from '../../store/content-store.ts'
import {
  type Audience,
  type Caller,
  GRACE,
  type NamedContent,
  PEER,
  type Probe,
  type RegistryWord,
} from './audience.ts'
import type { CallerProofs } from './caller-proofs.ts'
import { ContentSources } from './content-sources.ts'
import type { Access, Delivery, Provenance } from './provenance.ts'
import type { PublicProofs, Standing } from './public-proofs.ts'
import { type RegistryPolicy, isNamedRegistry } from './registry-policy.ts'

export interface RightsOptions {
  readonly store: Pick<ContentStore, 'sources' | 'open'>
  /** Where content that passed through this process came from. */
  readonly provenance: Provenance
  readonly publicProofs: PublicProofs
  readonly callers: CallerProofs
  readonly registries: RegistryPolicy
  /** `share`: serve held content to every caller that names its repository. `skip`: serve public and imported content only. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** True if the node has its own registry credentials; all its clients then have their rights. */
  readonly hasCredentials: boolean
  /** True in a cluster with a secret: peers accept this node's claim that a registry authorised a client. */
  readonly isBelieved: boolean
  /** True for a host, without a port, under which clients address this mirror. */
  readonly isMirrorHost?: (host: string) => boolean
  /** True in a cluster with a secret: this node accepts a peer's claim that content is public or imported. True if absent. */
  readonly believesPeers?: boolean
}

/** Cap on the sources that one request may cause questions about; content with more is treated as not public. */
const MAX_SOURCES_ASKED = 4

/**
 * Decides which content a client or a peer may receive. A right covers one digest in one repository of one registry, and only an answer of
 * that registry proves it. Manifests' lists and recorded sources are hints for what to ask. docs/security.md states the rule.
 */
export class Rights {
  readonly #options: RightsOptions
  readonly #sources: ContentSources

  constructor(options: RightsOptions) {
    this.#options = options
    this.#sources = new ContentSources(options)
  }

  /**
   * Why this node may serve content that it holds under a repository; undefined if it may not. `unknown`: it may, but the receiver must check
   * for itself before it serves the content to others.
   */
  async access(
    repository: Repository,
    content: NamedContent,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<Access | undefined> {
    const { policy, publicProofs } = this.#options
    if (audience.kind === 'peer' && isLocalRegistry(repository.registry)) return undefined
    const sources = await this.#sources.of(content.digest, options)
    const isSource = sources.some((source) => repositoryKey(source) === repositoryKey(repository))
    if (isSource && sources.every(({ access }) => access === 'imported')) return 'imported'
    const counts = this.#counts(repository, sources)
    if (counts && publicProofs.knows(repository, content)) return 'public'
    const isOpen = sources.length === 0 && this.#options.provenance.isOpen(content.digest)
    const openness = isOpen ? 'public' : await this.#opennessOf(sources)
    if (openness === 'public') return this.#publicAs(repository, audience)
    if (policy === 'share' && isSource) return 'unknown'
    if (!counts) {
      const shown = await this.#areShown(sources, content, options)
      // A stale proof must not look fresh to the receiver.
      return shown === 'public' ? this.#publicAs(repository, audience) : shown && 'unknown'
    }
    const word = await this.#proof(repository, content, audience, options)
    if (word === 'shown') return publicProofs.knows(repository, content) ? 'public' : 'unknown'
    // The registry cannot be asked: its last public answer still counts.
    return word === 'unknown' && openness === 'stale' ? 'unknown' : undefined
  }

  async mayServe(
    repository: Repository,
    content: NamedContent,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<boolean> {
    return (await this.access(repository, content, audience, options)) !== undefined
  }

  /**
   * Whether this node may tell peers that the registry authorised a caller for a digest or a tag. Without a proof it asks the registry, unless
   * `asksRegistry` is false.
   */
  async vouchesFor(
    caller: Caller | undefined,
    repository: Repository,
    probe: Probe,
    { asksRegistry = true, ...options }: { signal: AbortSignal; asksRegistry?: boolean },
  ): Promise<boolean> {
    const { callers, policy, isBelieved } = this.#options
    if (caller === undefined || policy === 'skip' || !isBelieved || isLocalRegistry(repository.registry)) return false
    if (!asksRegistry || !this.#mayAsk) return callers.knows(caller, repository, probe.reference)
    return (await callers.proves(caller, repository, probe, options)) === 'shown'
  }

  /** Whether the registry refused a repository to a caller within the last minute. Registries count failed logins, so do not retry. */
  isRefused(caller: Caller | undefined, repository: Repository): boolean {
    return caller !== undefined && this.#options.callers.isRefused(caller, repository)
  }

  /**
   * Records the source of a blob before its first byte can be served. The bytes are not verified yet, so this is no proof: gateways answer
   * 200 too.
   */
  async blobComes(
    repository: Repository,
    digest: Digest,
    delivery: Delivery,
    options: { signal: AbortSignal },
  ): Promise<void> {
    const { provenance, store } = this.#options
    const held = await store.open(digest, options).catch(() => 'unknown' as const)
    if (held !== undefined && held !== 'unknown') await held.close()
    // The store already holds the blob: it has an earlier source, which may be recorded nowhere.
    if (held !== undefined) provenance.recordUnknown(digest)
    if (delivery.from === 'peer') return void this.#comesFromPeer(repository, digest, delivery)
    provenance.record(repository, digest, delivery)
  }

  /**
   * Records verified content under its repository: a manifest, or a blob whose bytes all came from the registry. Returns the access that
   * the delivery justifies.
   */
  verifiedCame(repository: Repository, digest: Digest, delivery: Delivery, caller?: Caller): Access {
    const { provenance, publicProofs, callers } = this.#options
    if (delivery.from === 'peer') return this.#comesFromPeer(repository, digest, delivery)
    const age = performance.now() - (delivery.at ?? performance.now())
    if (delivery.anonymous) publicProofs.shown(repository, digest, age)
    callers.shown(caller ?? 'node', repository, digest)
    provenance.record(repository, digest, delivery, delivery.anonymous)
    return delivery.anonymous ? 'public' : 'unknown'
  }

  #comesFromPeer(repository: Repository, digest: Digest, delivery: Delivery & { from: 'peer' }): Access {
    const { provenance, publicProofs, believesPeers = true } = this.#options
    const access = believesPeers ? delivery.access : 'unknown'
    if (access === 'public') publicProofs.heardOf(repository, digest)
    if (access === 'open') provenance.noteOpen(digest)
    // `open` content may have been requested under any repository. Recording a private one as its source would close the content for all.
    if (access !== 'open' || publicProofs.openness(repository) === 'public')
      provenance.record(repository, digest, { ...delivery, access })
    return access
  }

  /** Records that a registry resolved a tag. `anonymous`: the request carried no credentials. */
  resolved(
    tag: Repository & { readonly tag: string },
    digest: Digest,
    how: { anonymous: boolean; caller?: Caller | undefined },
  ): void {
    const { publicProofs, callers } = this.#options
    for (const reference of [tag.tag, digest]) {
      if (how.anonymous) publicProofs.shown(tag, reference)
      callers.shown(how.caller ?? 'node', tag, reference)
    }
  }

  /** Records a peer's claim that the registry showed the repository to everybody within the last five minutes. */
  heardPublic(repository: Repository): void {
    this.#options.publicProofs.heard(repository, GRACE)
  }

  /** Records that a peer needed credentials for content of the repository. */
  notePrivate(repository: Repository): void {
    this.#options.publicProofs.notePrivate(repository)
  }

  /** Whether the repository is public, without asking; undefined if no answer is recent enough. */
  knownVerdict(repository: Repository): boolean | undefined {
    return this.#options.publicProofs.known(repository)
  }

  /** Records that the registry refused the repository to a request without credentials. */
  refusedToEverybody(repository: Repository): void {
    this.#options.publicProofs.refused(repository)
  }

  /** Whether the registry shows a repository to everybody. The digest or tag of the client's request serves as the probe. */
  async standing(
    repository: Repository,
    probe: Probe,
    options: { signal: AbortSignal; maxAge?: number },
  ): Promise<Standing> {
    const { publicProofs } = this.#options
    if (this.#mayAsk) return publicProofs.standing(repository, probe, options)
    const known = publicProofs.known(repository)
    return known === undefined ? 'unknown' : known ? 'public' : 'closed'
  }

  /** Whether the registry shows content of a repository to everybody. Asks the registry without a proof. */
  async isPublic(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<boolean> {
    return this.#mayAsk && (await this.#options.publicProofs.proves(repository, content, options)) === 'shown'
  }

  /** True with `--private-images share`: peers receive all held content, private content included. */
  get sharesAll(): boolean {
    return this.#options.policy === 'share'
  }

  /** Whether nodes may fetch from a repository together. True until the repository is known to be private. */
  mayShare(repository: Repository): boolean {
    if (isLocalRegistry(repository.registry)) return false
    return this.sharesAll || this.knownVerdict(repository) !== false
  }

  /** Whether to announce content to peers: true if a peer whose client is not authorised would receive it. */
  mayOffer(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<boolean> {
    return this.mayServe(repository, content, PEER, options)
  }

  /** The access of public content: `public` if the requested repository is public too, else `open`. */
  async #publicAs(repository: Repository, { kind }: Audience): Promise<Access> {
    const { publicProofs } = this.#options
    const openness = kind === 'peer' ? await publicProofs.hearOpenness(repository) : publicProofs.openness(repository)
    return openness === 'public' ? 'public' : 'open'
  }

  /** `public` if every source is a public repository: serving the content under any name leaks nothing. `stale`: by old answers. */
  async #opennessOf(sources: readonly ContentSource[]): Promise<'public' | 'stale' | 'closed'> {
    const { publicProofs } = this.#options
    if (sources.length === 0 || sources.some(isNeverPublic)) return 'closed'
    const known = sources.map((source) => publicProofs.openness(source))
    if (known.includes('closed')) return 'closed'
    const doubtful = sources.filter((_, i) => known[i] !== 'public')
    if (doubtful.length > MAX_SOURCES_ASKED) return 'closed'
    const heard = await Promise.all(doubtful.map((source) => publicProofs.hearOpenness(source)))
    if (heard.includes('closed') || heard.includes('unknown')) return 'closed'
    return heard.includes('stale') ? 'stale' : 'public'
  }

  /**
   * Whether a proof of the requested registry is enough. Anyone can run a registry that claims content of another registry, so it must be the
   * only source, or named by the operator.
   */
  #counts({ registry }: Repository, sources: readonly ContentSource[]): boolean {
    if (sources.length > 0 && sources.every((source) => source.registry === registry)) return true
    return isNamedRegistry(this.#options.registries, registry)
  }

  /** Whether every source's registry shows the content to everybody. */
  async #areShown(
    sources: readonly ContentSource[],
    content: NamedContent,
    options: { signal: AbortSignal },
  ): Promise<'public' | 'stale' | undefined> {
    const { publicProofs } = this.#options
    const doubtful = sources.filter((source) => publicProofs.openness(source) !== 'public')
    if (sources.length === 0 || doubtful.length > MAX_SOURCES_ASKED || sources.some(isNeverPublic)) return undefined
    if (!this.#mayAsk) return undefined
    const shown = await Promise.all(
      doubtful.map(async (source) => {
        const word = await publicProofs.proves(source, content, options)
        if (word === 'shown' && publicProofs.knows(source, content)) return 'public'
        const isStale = word === 'shown' || (word === 'unknown' && publicProofs.openness(source) === 'stale')
        return isStale ? 'stale' : undefined
      }),
    )
    if (shown.includes(undefined)) return undefined
    return shown.includes('stale') ? 'stale' : 'public'
  }

  async #proof(
    repository: Repository,
    content: NamedContent,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<RegistryWord> {
    const { publicProofs, callers, policy, hasCredentials } = this.#options
    if (audience.kind === 'peer' && audience.verified === true && policy !== 'skip') return 'shown'
    const probe = { kind: content.kind, reference: content.digest }
    const own = audience.kind === 'peer' || policy === 'skip' ? undefined : (audience.caller ?? 'node')
    if (own !== undefined && callers.knows(own, repository, content.digest)) return 'shown'
    if (!this.#mayAsk) return 'unknown'
    if (own !== undefined && own !== 'node') return callers.proves(own, repository, probe, options)
    const word = await publicProofs.proves(repository, content, options)
    if (word === 'shown' || own === undefined || !hasCredentials) return word
    return callers.proves(own, repository, probe, options)
  }

  /** False with `--fallback none` and `--private-images share`: then this node sends registries no access checks. */
  get #mayAsk(): boolean {
    return !(this.sharesAll && this.#options.registries.fallback === 'none')
  }
}

/** A local registry differs per node: content that is public on one node may be private on another. */
function isNeverPublic({ access, registry }: ContentSource): boolean {
  return access === 'imported' || isLocalRegistry(registry)
}
