import { isLocalRegistry } from '../../oci/local-registry.ts'
import { type Repository, parseRepositoryPath, repositoryKey } from '../../oci/reference.ts'
import type { Digest } from '../../oci/digest.ts'
import { type ContentSource, type ContentStore, UNRECORDED } from '../../store/content-store.ts'
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
import type { Access, Delivery, Provenance } from './provenance.ts'
import type { PublicProofs, Standing } from './public-proofs.ts'
import { type RegistryPolicy, isNamedRegistry } from './registry-policy.ts'

export interface RightsOptions {
  readonly store: Pick<ContentStore, 'sources' | 'open'>
  /** What this process has seen pass. */
  readonly provenance: Provenance
  readonly everybody: PublicProofs
  readonly callers: CallerProofs
  readonly registries: RegistryPolicy
  /** `share` gives each image that a node holds to everybody who names it; `skip` gives nobody what is not public. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** Whether the node has credentials of its own, whose rights all its clients have. */
  readonly hasCredentials: boolean
  /** Whether peers take this node's word that a registry showed content to its client: in clusters with a secret. */
  readonly isBelieved: boolean
  /** Whether clients name this mirror by a host, on whatever port. */
  readonly isMirrorHost?: (host: string) => boolean
  /** Whether this node takes a peer's word that content is public or imported: in clusters with a secret. True if absent. */
  readonly believesPeers?: boolean
}

/** More sources are not asked about for one request. */
const MAX_SOURCES_ASKED = 4

/**
 * Decides who may see what. A right concerns one digest in one repository of one registry, and its proof is an answer of that registry;
 * what a manifest lists, and from where a store says that its content came, are hints. docs/security.md has the rule.
 */
export class Rights {
  readonly #options: RightsOptions

  constructor(options: RightsOptions) {
    this.#options = options
  }

  /**
   * Why content that is here may be served under a repository; undefined if it may not. `unknown`: it may, and the receiver must find out by
   * itself whether it may pass it on.
   */
  async access(
    repository: Repository,
    content: NamedContent,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<Access | undefined> {
    const { policy, everybody } = this.#options
    if (audience.kind === 'peer' && isLocalRegistry(repository.registry)) return undefined
    const sources = await this.#sourcesOf(content.digest, options)
    const isSource = sources.some((source) => repositoryKey(source) === repositoryKey(repository))
    if (isSource && sources.every(({ access }) => access === 'imported')) return 'imported'
    const counts = this.#counts(repository, sources)
    if (counts && everybody.knows(repository, content)) return 'public'
    const isOpen = sources.length === 0 && this.#options.provenance.isOpen(content.digest)
    const openness = isOpen ? 'public' : await this.#opennessOf(sources)
    if (openness === 'public') return this.#publicAs(repository, audience)
    if (policy === 'share' && isSource) return 'unknown'
    if (!counts) {
      const shown = await this.#areShown(sources, content, options)
      // What was public long ago must not become younger by being passed on.
      return shown === 'public' ? this.#publicAs(repository, audience) : shown && 'unknown'
    }
    const word = await this.#proof(repository, content, audience, options)
    if (word === 'shown') return everybody.knows(repository, content) ? 'public' : 'unknown'
    // Public not long ago, and nobody can say otherwise.
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

  /** Whether this node may tell its peers that the registry showed a digest or a tag to a caller. Asks the registry if it must. */
  async vouchesFor(
    caller: Caller | undefined,
    repository: Repository,
    probe: Probe,
    options: { signal: AbortSignal },
  ): Promise<boolean> {
    const { callers, policy, isBelieved } = this.#options
    if (caller === undefined || policy === 'skip' || !isBelieved || isLocalRegistry(repository.registry)) return false
    if (!this.#mayAsk) return callers.knows(caller, repository, probe.reference)
    return (await callers.proves(caller, repository, probe, options)) === 'shown'
  }

  /** Whether a caller's registry has just refused it a repository: asking again would only count as another wrong password. */
  isRefused(caller: Caller | undefined, repository: Repository): boolean {
    return caller !== undefined && this.#options.callers.isRefused(caller, repository)
  }

  /**
   * Notes that a blob under this repository comes to this node, before its first byte can be seen. Its bytes are not verified yet: an answer
   * with 200 alone proves nothing.
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
    // What is here already did not come by this, and where it came from may be recorded nowhere.
    if (held !== undefined) provenance.recordUnknown(digest)
    if (delivery.from === 'peer') return void this.#comesFromPeer(repository, digest, delivery)
    provenance.record(repository, digest, delivery)
  }

  /**
   * Notes that verified content came under this repository: a manifest, or a blob whose bytes came from the registry alone. Returns what counts
   * of the peer's or the registry's word.
   */
  verifiedCame(repository: Repository, digest: Digest, delivery: Delivery, caller?: Caller): Access {
    const { provenance, everybody, callers } = this.#options
    if (delivery.from === 'peer') return this.#comesFromPeer(repository, digest, delivery)
    const age = performance.now() - (delivery.at ?? performance.now())
    if (delivery.anonymous) everybody.shown(repository, digest, age)
    callers.shown(caller ?? 'node', repository, digest)
    provenance.record(repository, digest, delivery, delivery.anonymous)
    return delivery.anonymous ? 'public' : 'unknown'
  }

  #comesFromPeer(repository: Repository, digest: Digest, delivery: Delivery & { from: 'peer' }): Access {
    const { provenance, everybody, believesPeers = true } = this.#options
    const access = believesPeers ? delivery.access : 'unknown'
    if (access === 'public') everybody.heardOf(repository, digest)
    if (access === 'open') provenance.noteOpen(digest)
    // It is public whatever it was asked for under, and that may be any name: one that refuses it later would close it for all.
    if (access !== 'open' || everybody.openness(repository) === 'public')
      provenance.record(repository, digest, { ...delivery, access })
    return access
  }

  /** Notes that a registry said what a tag names; `anonymous`: it would say so to everybody. */
  resolved(
    tag: Repository & { readonly tag: string },
    digest: Digest,
    how: { anonymous: boolean; caller?: Caller | undefined },
  ): void {
    const { everybody, callers } = this.#options
    for (const reference of [tag.tag, digest]) {
      if (how.anonymous) everybody.shown(tag, reference)
      callers.shown(how.caller ?? 'node', tag, reference)
    }
  }

  /** A neighbour says that everybody may pull from a repository, as its registry has shown within the last minutes. */
  heardPublic(repository: Repository): void {
    this.#options.everybody.heard(repository, GRACE)
  }

  /** A neighbour had something of a repository with credentials only. */
  notePrivate(repository: Repository): void {
    this.#options.everybody.notePrivate(repository)
  }

  /** Whether everybody may pull from a repository, as far as that is known without asking. */
  knownVerdict(repository: Repository): boolean | undefined {
    return this.#options.everybody.known(repository)
  }

  /** The registry refused a repository to a client without credentials, or with the node's. */
  refusedToEverybody(repository: Repository): void {
    this.#options.everybody.refused(repository)
  }

  /** What the registry shows to everybody, found out with whatever digest or tag a client asks for. */
  async standing(
    repository: Repository,
    probe: Probe,
    options: { signal: AbortSignal; maxAge?: number },
  ): Promise<Standing> {
    const { everybody } = this.#options
    if (this.#mayAsk) return everybody.standing(repository, probe, options)
    const known = everybody.known(repository)
    return known === undefined ? 'unknown' : known ? 'public' : 'closed'
  }

  /** Whether content that comes from a repository now is public there. Asks the registry if it must. */
  async isPublic(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<boolean> {
    return this.#mayAsk && (await this.#options.everybody.proves(repository, content, options)) === 'shown'
  }

  /** True if this node gives its neighbours everything, whoever may pull it from its registry. */
  get sharesAll(): boolean {
    return this.#options.policy === 'share'
  }

  /** Whether nodes may fetch from a repository together; true until it is known that they may not give each other what they get. */
  mayShare(repository: Repository): boolean {
    if (isLocalRegistry(repository.registry)) return false
    return this.sharesAll || this.knownVerdict(repository) !== false
  }

  /** Whether peers may be sent here for content: what they would be given without a word about their clients. */
  mayOffer(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<boolean> {
    return this.mayServe(repository, content, PEER, options)
  }

  /** All that is recorded. What has any source at a registry is not imported, whatever else is said of it. */
  async #sourcesOf(digest: Digest, options: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    const merged = new Map<string, ContentSource>()
    const held = await this.#options.store.sources(digest, options)
    const came = this.#options.provenance.of(digest)
    for (const source of this.#isExplained(held, came) ? [] : held)
      merged.set(repositoryKey(source), { ...source, ...graceOf(source) })
    for (const source of came) {
      const key = repositoryKey(source)
      if (merged.get(key)?.access !== 'public') merged.set(key, source)
    }
    const all = [...merged.values()].filter((source) => !this.#isOwnName(source, digest))
    // What has any source at a registry is not imported.
    const fromRegistries = all.filter(({ access }) => access !== 'imported')
    return fromRegistries.length > 0 ? fromRegistries : all
  }

  /**
   * Whether content of which the store cannot say yet from where it came was brought by this process, from registries that the operator named.
   * Any other registry may have answered for content that a client then got past the mirror.
   */
  #isExplained(held: readonly ContentSource[], came: readonly ContentSource[]): boolean {
    const isUnsettled = held.length === 1 && held[0]?.registry === UNRECORDED.registry
    return isUnsettled && came.length > 0 && came.every(({ registry }) => this.#isNamed(registry))
  }

  #isNamed(registry: string): boolean {
    return isNamedRegistry(this.#options.registries, registry)
  }

  /**
   * Whether a source is a repository of this node's own mirror, as containerd labels `127.0.0.1:7950/org/app`: `127.0.0.1=org/app`. A registry
   * of this machine could have one of that name, too: it counts as the mirror's only if the content came through this process.
   */
  #isOwnName({ registry, name }: ContentSource, digest: Digest): boolean {
    const { isMirrorHost, provenance } = this.#options
    if (!isLocalRegistry(registry) || isMirrorHost?.(registry) !== true) return false
    const named = parseRepositoryPath(name)
    const came = provenance.of(digest)
    return named !== undefined && came.some((source) => repositoryKey(source) === repositoryKey(named))
  }

  /** Public content is `public` to a receiver that may count on the repository, too, and `open` where the repository is another one. */
  async #publicAs(repository: Repository, { kind }: Audience): Promise<Access> {
    const { everybody } = this.#options
    const openness = kind === 'peer' ? await everybody.hearOpenness(repository) : everybody.openness(repository)
    return openness === 'public' ? 'public' : 'open'
  }

  /** `public` if every source is a public repository: then nothing can leak under any name. `stale`: all were, when last seen. */
  async #opennessOf(sources: readonly ContentSource[]): Promise<'public' | 'stale' | 'closed'> {
    const { everybody } = this.#options
    if (sources.length === 0 || sources.some(isNeverPublic)) return 'closed'
    const known = sources.map((source) => everybody.openness(source))
    if (known.includes('closed')) return 'closed'
    const doubtful = sources.filter((_, i) => known[i] !== 'public')
    if (doubtful.length > MAX_SOURCES_ASKED) return 'closed'
    const heard = await Promise.all(doubtful.map((source) => everybody.hearOpenness(source)))
    if (heard.includes('closed') || heard.includes('unknown')) return 'closed'
    return heard.includes('stale') ? 'stale' : 'public'
  }

  /**
   * Whether a registry's proof is enough. A registry that anyone can run could claim content that came from another one, or of which this
   * node does not know from where it came.
   */
  #counts({ registry }: Repository, sources: readonly ContentSource[]): boolean {
    if (sources.length > 0 && sources.every((source) => source.registry === registry)) return true
    return this.#isNamed(registry)
  }

  /** Whether each registry that the content came from shows it there to everybody. */
  async #areShown(
    sources: readonly ContentSource[],
    content: NamedContent,
    options: { signal: AbortSignal },
  ): Promise<'public' | 'stale' | undefined> {
    const { everybody } = this.#options
    const doubtful = sources.filter((source) => everybody.openness(source) !== 'public')
    if (sources.length === 0 || doubtful.length > MAX_SOURCES_ASKED || sources.some(isNeverPublic)) return undefined
    if (!this.#mayAsk) return undefined
    const shown = await Promise.all(
      doubtful.map(async (source) => {
        const word = await everybody.proves(source, content, options)
        if (word === 'shown' && everybody.knows(source, content)) return 'public'
        const isStale = word === 'shown' || (word === 'unknown' && everybody.openness(source) === 'stale')
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
    const { everybody, callers, policy, hasCredentials } = this.#options
    if (audience.kind === 'peer' && audience.verified === true && policy !== 'skip') return 'shown'
    const probe = { kind: content.kind, reference: content.digest }
    const own = audience.kind === 'peer' || policy === 'skip' ? undefined : (audience.caller ?? 'node')
    if (own !== undefined && callers.knows(own, repository, content.digest)) return 'shown'
    if (!this.#mayAsk) return 'unknown'
    if (own !== undefined && own !== 'node') return callers.proves(own, repository, probe, options)
    const word = await everybody.proves(repository, content, options)
    if (word === 'shown' || own === undefined || !hasCredentials) return word
    return callers.proves(own, repository, probe, options)
  }

  /** With `--fallback none` and `--private-images share` no registry is asked for anything. */
  get #mayAsk(): boolean {
    return !(this.sharesAll && this.#options.registries.fallback === 'none')
  }
}

/**
 * What came before this process began may have come through an earlier one, without credentials. What has come since and was not recorded came
 * past Nabo, nobody knows how.
 */
function graceOf({ at }: ContentSource): { at?: number } {
  return at === undefined ? {} : { at: at < 0 ? at - GRACE : at }
}

/** A local registry is another one on each node: what is public here may be private there. */
function isNeverPublic({ access, registry }: ContentSource): boolean {
  return access === 'imported' || isLocalRegistry(registry)
}
