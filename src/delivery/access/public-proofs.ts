import { LRUCache } from 'lru-cache'

import { isLocalRegistry } from '../../oci/local-registry.ts'
import { parseDigest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentSource } from '../../store/content-store.ts'
import { withDeadline } from '../../time/deadline.ts'
import { hour, minute, second } from '../../time/units.ts'
import type { Upstream } from '../../upstream/upstream.ts'
import type { NamedContent, Probe, PublicWord, RegistryWord } from './audience.ts'
import { ProofTable } from './proof-table.ts'

/** `closed`: the registry refuses the repository to clients without credentials. `unknown`: it did not say. */
export type Standing = 'public' | 'closed' | 'unknown'

/** `stale`: public when it was last shown, more than a day ago; good enough while the registry cannot be asked. */
export type Openness = 'public' | 'stale' | 'closed' | 'unknown'

/** What the other nodes know about registries' words for everybody. No call rejects, and none takes longer than some seconds. */
export interface ClusterProofs {
  /** How long ago a registry showed a repository to everybody, in milliseconds; undefined if no node knows of it. */
  ask(repository: Repository): Promise<number | undefined>
  /** Has the one node that answers for a repository ask its registry; undefined if this node must ask by itself. */
  prove(repository: Repository, content: NamedContent): Promise<PublicWord | undefined>
  /** Tells the nodes that are asked. */
  tell(repository: Repository, isPublic: boolean): void
}

export interface PublicProofsOptions {
  readonly upstream: Pick<Upstream, 'shows'>
  readonly cluster?: ClusterProofs | undefined
  /** False in a cluster without a secret, where a stranger could call a private repository public. True if absent. */
  readonly believesPeers?: boolean
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

/** Proofs as they are kept over a restart: `age` in milliseconds. */
export interface KeptRepository {
  readonly repository: Repository
  readonly age: number
  readonly contents: readonly { readonly digest: string; readonly age: number }[]
}

interface Verdict {
  readonly isPublic: boolean
  /** True if it refused. */
  readonly refused: boolean
  /** When the registry said so, by the monotonic clock. */
  readonly since: number
  readonly until: number
}

const PUBLIC_LIFE = 24 * hour
const PRIVATE_LIFE = 1 * minute
/** A registry that cannot be reached is not asked again for each layer of an image. */
const UNREACHABLE_LIFE = 5 * second
const ABSENT_LIFE = 1 * minute
const UNHEARD_LIFE = 10 * second
const CHECK_TIMEOUT = 3 * second
const MAX_REPOSITORIES = 5000
/** Of words that are kept for seconds. */
const MAX_SHORT = 2000

/**
 * What registries show to clients without credentials: which repositories are public, and proofs for single contents. A word is
 * remembered, else asked of the cluster, else of the registry by HEAD, which costs no quota. What was shown counts on while the registry
 * cannot be asked.
 */
export class PublicProofs {
  readonly #options: PublicProofsOptions
  readonly #now: () => number
  readonly #verdicts = new LRUCache<string, Verdict>({ max: MAX_REPOSITORIES })
  readonly #proofs = new ProofTable()
  /** When each was last refused: words that are older do not count, whatever was said since. */
  readonly #refusals = new LRUCache<string, number>({ max: MAX_REPOSITORIES })
  /** Until when, by repository. */
  readonly #unreachable = new LRUCache<string, number>({ max: MAX_SHORT })
  /** Since when, by question. */
  readonly #absent = new LRUCache<string, number>({ max: MAX_SHORT })
  readonly #unheard = new LRUCache<string, number>({ max: MAX_SHORT })
  readonly #pending = new Map<string, Promise<PublicWord>>()
  #onChange: () => void = () => {}

  constructor(options: PublicProofsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Whether everybody may pull from a repository, as far as that is known without asking. */
  known(repository: Repository): boolean | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict !== undefined && verdict.until > this.#now() ? verdict.isPublic : undefined
  }

  /** Whether content that came from a repository is public, as far as that is known without asking. */
  openness({ access, at, ...repository }: Repository & Partial<ContentSource>): Openness {
    const now = this.#now()
    const verdict = this.#verdicts.get(repositoryKey(repository))
    // What an earlier process recorded is older than each refusal in this one.
    let since = access === 'public' ? (at ?? Math.min(now - PUBLIC_LIFE, 0)) : -Infinity
    // What came from a repository after it was last seen to be public may be secret: it may have been closed meanwhile.
    if (verdict?.isPublic === true && (access === 'public' || verdict.since >= (at ?? 0)))
      since = Math.max(since, verdict.since)
    if (since === -Infinity || this.#refusedAt(repository) > since)
      return this.known(repository) === false ? 'closed' : 'unknown'
    return now - since < PUBLIC_LIFE ? 'public' : 'stale'
  }

  /** Like {@link openness}, and asks the cluster, but no registry, where nothing is known. */
  async hearOpenness(source: Repository & Partial<ContentSource>): Promise<Openness> {
    const known = this.openness(source)
    const key = repositoryKey(source)
    const cluster = this.#clusterFor(source)
    if (known === 'public' || known === 'closed' || cluster === undefined) return known
    if ((this.#unheard.get(key) ?? 0) > this.#now()) return known
    const age = this.#notRefuted(source, await cluster.ask(source))
    // Its word may be too old for this content: then it is not asked for each request either.
    this.#unheard.set(key, this.#now() + UNHEARD_LIFE)
    if (age !== undefined) this.#rememberPublic(source, age)
    return this.openness(source)
  }

  /** How long ago a registry showed the repository to everybody, in milliseconds; undefined if that is not known, or no longer so. */
  publicAge(repository: Repository): number | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict?.isPublic === true ? Math.max(0, this.#now() - verdict.since) : undefined
  }

  /** Whether a proof for everybody is at hand that is no older than a day. */
  knows(repository: Repository, { digest }: NamedContent): boolean {
    return this.#now() - (this.#proof(repository, digest) ?? -Infinity) < PUBLIC_LIFE
  }

  /**
   * The registry showed it to a request without credentials, `age` milliseconds ago. `reference`: a digest is proven, a tag is not kept.
   */
  shown(repository: Repository, reference: string, age = 0): void {
    if (this.#notRefuted(repository, age) === undefined) return
    const isNews = this.known(repository) !== true
    this.#rememberPublic(repository, age)
    this.#rememberProof(repository, reference, age)
    if (isNews) this.#clusterFor(repository)?.tell(repository, true)
  }

  /** The registry refused it to a request without credentials. */
  refused(repository: Repository): void {
    const wasPublic = this.#verdicts.get(repositoryKey(repository))?.isPublic === true
    this.#close(repository)
    if (wasPublic) this.#clusterFor(repository)?.tell(repository, false)
  }

  /**
   * A neighbour says that a registry has shown it, `age` milliseconds ago at the most, which counts unless the registry has just refused it
   * to this node.
   */
  heard(repository: Repository, age = 0): void {
    if (!this.#believes(repository) || this.#isRefused(repository)) return
    // Nodes that repeat each other's word must not make it younger than the registry's.
    if (this.known(repository) !== true) this.#rememberPublic(repository, age)
  }

  /** A holder says that content is public there. Of the repository it says nothing: it may have been closed since. */
  heardOf(repository: Repository, digest: string): void {
    if (!this.#believes(repository) || this.#isRefused(repository)) return
    if (this.#proof(repository, digest) === undefined) this.#rememberProof(repository, digest, 0)
  }

  /** A neighbour had something of it with credentials only. What is known to be public stays so. */
  notePrivate(repository: Repository): void {
    if (this.known(repository) !== undefined || !this.#believes(repository)) return
    this.#remember(repository, { isPublic: false, refused: false, since: this.#now() }, PRIVATE_LIFE)
  }

  /** A neighbour was refused what was public before: nothing that is kept of it counts any more. */
  forget(repository: Repository): void {
    if (!this.#believes(repository)) return
    if (this.#verdicts.get(repositoryKey(repository))?.isPublic === true)
      this.#verdicts.delete(repositoryKey(repository))
    this.#refusals.set(repositoryKey(repository), this.#now())
    this.#proofs.drop(repositoryKey(repository))
    this.#onChange()
  }

  /**
   * Whether the registry shows a repository to everybody, found out with whatever digest or tag a client asks for. A word that is older
   * than `maxAge` milliseconds counts only while the registry cannot be asked.
   */
  async standing(
    repository: Repository,
    { kind, reference }: Probe,
    { signal, maxAge = PUBLIC_LIFE }: { signal: AbortSignal; maxAge?: number },
  ): Promise<Standing> {
    // A neighbour's word that it is private keeps content here, and is not enough to ask a client for its credentials.
    if (this.#isRefused(repository)) return 'closed'
    const openness = await this.hearOpenness({ ...repository, at: -Infinity })
    const isOpen = openness === 'public' || openness === 'stale'
    if (isOpen && (this.publicAge(repository) ?? Infinity) < maxAge) return 'public'
    if (this.#isUnreachable(repository)) return isOpen ? 'public' : 'unknown'
    const digest = parseDigest(reference)
    const { word } =
      digest === undefined || maxAge < PUBLIC_LIFE
        ? await this.#askRegistry(repository, { kind, reference })
        : await this.#ask(repository, { kind, digest })
    signal.throwIfAborted()
    if (word === 'shown' || (word === 'unknown' && isOpen)) return 'public'
    return word === 'refused' ? 'closed' : 'unknown'
  }

  /** The registry's word about one content for everybody. */
  async proves(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<RegistryWord> {
    const { word } = this.#knownWord(repository, content) ?? (await this.#ask(repository, content))
    options.signal.throwIfAborted()
    return word
  }

  /** Like {@link proves}, for another node: this one is to ask the registry, and no other node. */
  async proveFor(repository: Repository, content: NamedContent): Promise<PublicWord> {
    // The other node has another registry of that name.
    if (isLocalRegistry(repository.registry)) return { word: 'unknown', age: 0 }
    const probe = { kind: content.kind, reference: content.digest }
    return this.#knownWord(repository, content) ?? this.#askRegistry(repository, probe)
  }

  /** What is worth keeping over a restart, the most recently used first; no more than `max` contents, and as many repositories. */
  kept(max: number): KeptRepository[] {
    const now = this.#now()
    const contents = this.#proofs.entries(max)
    return [...this.#verdicts.entries()]
      .filter(([, { isPublic }]) => isPublic)
      .slice(0, max)
      .map(([key, { since }]) => ({
        repository: { registry: key.slice(0, key.indexOf('/')), name: key.slice(key.indexOf('/') + 1) },
        age: now - since,
        contents: (contents.get(key) ?? []).map(([digest, since]) => ({ digest, age: now - since })),
      }))
  }

  /** Takes what an earlier process kept; what is known already is newer. */
  restore(kept: readonly KeptRepository[]): void {
    for (const { repository, age, contents } of kept.toReversed()) {
      if (this.#verdicts.has(repositoryKey(repository))) continue
      this.#rememberPublic(repository, age)
      for (const { digest, age } of contents.toReversed()) this.#rememberProof(repository, digest, age)
    }
  }

  /** Calls `listener` after each change of what {@link kept} gives. */
  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  #knownWord(repository: Repository, { kind, digest }: NamedContent): PublicWord | undefined {
    const now = this.#now()
    const proof = this.#proof(repository, digest)
    if (proof !== undefined && now - proof < PUBLIC_LIFE) return { word: 'shown', age: now - proof }
    if (this.#isRefused(repository)) return { word: 'refused', age: 0 }
    if (this.#isUnreachable(repository)) return this.#wordWithout(repository, { kind, reference: digest })
    // A layer is no manifest: where it is absent as one, it may be there as the other.
    const absent = this.#absent.get(questionKey(repository, kind, digest)) ?? -Infinity
    return now - absent < ABSENT_LIFE ? { word: 'absent', age: 0 } : undefined
  }

  /** What is left to say of a registry that cannot be asked. */
  #wordWithout(repository: Repository, { kind, reference }: Probe): PublicWord {
    const proof = this.#proof(repository, reference)
    const absent = this.#absent.get(questionKey(repository, kind, reference)) ?? -Infinity
    return proof === undefined || absent > proof
      ? { word: 'unknown', age: 0 }
      : { word: 'shown', age: this.#now() - proof }
  }

  /** Asks the cluster, else the registry. */
  #ask(repository: Repository, content: NamedContent): Promise<PublicWord> {
    const probe = { kind: content.kind, reference: content.digest }
    return this.#once('anybody', repository, probe, async () => {
      const heard = await this.#clusterFor(repository)?.prove(repository, content)
      if (heard === undefined || heard.word === 'unknown') return this.#askRegistry(repository, probe)
      if (heard.word === 'shown' && this.#notRefuted(repository, heard.age) === undefined)
        return this.#askRegistry(repository, probe)
      return this.#learn(repository, probe, heard)
    })
  }

  #askRegistry(repository: Repository, probe: Probe): Promise<PublicWord> {
    return this.#once('registry', repository, probe, () => this.#askRegistryNow(repository, probe))
  }

  async #askRegistryNow(repository: Repository, probe: Probe): Promise<PublicWord> {
    const what = 'asking a registry what it shows to everybody'
    try {
      const shown = await withDeadline(CHECK_TIMEOUT, what, new AbortController().signal, (signal) =>
        this.#options.upstream.shows(repository, probe, { signal, as: 'anonymous' }),
      )
      if (shown === undefined) return this.#learn(repository, probe, { word: 'absent', age: 0 })
      this.shown(repository, probe.reference)
      return { word: 'shown', age: 0 }
    } catch (error) {
      if ((error as { reason?: unknown }).reason === 'denied') {
        this.refused(repository)
        return { word: 'refused', age: 0 }
      }
      this.#unreachable.set(repositoryKey(repository), this.#now() + UNREACHABLE_LIFE)
      return this.#wordWithout(repository, probe)
    }
  }

  /**
   * Asks once for all that wait for the same word, so not with the first request's signal. Questions to the registry are told apart from
   * those to the cluster: two nodes that each think that the other one asks the registry must not wait for each other.
   */
  #once(
    whom: 'anybody' | 'registry',
    repository: Repository,
    { kind, reference }: Probe,
    ask: () => Promise<PublicWord>,
  ): Promise<PublicWord> {
    const key = `${whom} ${questionKey(repository, kind, reference)}`
    const running = this.#pending.get(key)
    if (running !== undefined) return running
    const asking = ask().finally(() => this.#pending.delete(key))
    this.#pending.set(key, asking)
    return asking
  }

  #learn(repository: Repository, { kind, reference }: Probe, heard: PublicWord): PublicWord {
    switch (heard.word) {
      case 'shown':
        this.#rememberPublic(repository, heard.age)
        this.#rememberProof(repository, reference, heard.age)
        break
      case 'refused':
        this.#close(repository)
        break
      case 'absent':
        this.#absent.set(questionKey(repository, kind, reference), this.#now())
        break
      case 'unknown':
    }
    return heard
  }

  /** Another node's word counts unless this node knows better: a refusal that came later. */
  #notRefuted(repository: Repository, age: number | undefined): number | undefined {
    return age !== undefined && this.#refusedAt(repository) > this.#now() - age ? undefined : age
  }

  /** When it was shown, whatever has become of it since; undefined if the repository was refused later. */
  #proof(repository: Repository, digest: string): number | undefined {
    const since = this.#proofs.get(repositoryKey(repository), digest)
    return since !== undefined && this.#refusedAt(repository) > since ? undefined : since
  }

  /** When a registry last refused a repository to everybody, by the clock of this process. */
  #refusedAt(repository: Repository): number {
    return this.#refusals.get(repositoryKey(repository)) ?? -Infinity
  }

  #isUnreachable(repository: Repository): boolean {
    return (this.#unreachable.get(repositoryKey(repository)) ?? 0) > this.#now()
  }

  #isRefused(repository: Repository): boolean {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict?.refused === true && verdict.until > this.#now()
  }

  /** Each node has another registry of the name `localhost`. */
  #clusterFor({ registry }: Repository): ClusterProofs | undefined {
    return isLocalRegistry(registry) ? undefined : this.#options.cluster
  }

  #believes({ registry }: Repository): boolean {
    return this.#options.believesPeers !== false && !isLocalRegistry(registry)
  }

  #close(repository: Repository): void {
    this.#proofs.drop(repositoryKey(repository))
    this.#refusals.set(repositoryKey(repository), this.#now())
    this.#remember(repository, { isPublic: false, refused: true, since: this.#now() }, PRIVATE_LIFE)
    this.#onChange()
  }

  /** `age` is how long ago that was found out, in milliseconds. */
  #rememberPublic(repository: Repository, age: number): void {
    const since = this.#now() - age
    const before = this.#verdicts.get(repositoryKey(repository))
    if (before?.isPublic === true && before.since >= since) return
    this.#remember(repository, { isPublic: true, refused: false, since }, PUBLIC_LIFE - age)
    this.#onChange()
  }

  #rememberProof(repository: Repository, reference: string, age: number): void {
    const digest = parseDigest(reference)
    if (digest === undefined) return
    this.#proofs.set(repositoryKey(repository), digest, this.#now() - age)
    this.#onChange()
  }

  #remember(repository: Repository, verdict: Omit<Verdict, 'until'>, life: number): void {
    this.#verdicts.set(repositoryKey(repository), { ...verdict, until: this.#now() + life })
  }
}

function questionKey(repository: Repository, kind: Probe['kind'], reference: string): string {
  return `${kind} ${repositoryKey(repository)}@${reference}`
}
