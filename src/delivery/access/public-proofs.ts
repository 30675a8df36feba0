import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { isLocalRegistry } from '../../oci/local-registry.ts'
import { parseDigest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentSource } from '../../store/content-store.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { Upstream } from '../../upstream/upstream.ts'
import type { NamedContent, Probe, PublicWord, RegistryWord } from './audience.ts'
import { type KeptRepository, type Openness, PUBLIC_LIFE, PublicRecord } from './public-record.ts'
import { wordOfFailure } from './word-of-failure.ts'

/** `closed`: the registry refuses the repository to clients without credentials. `unknown`: the registry gave no clear answer. */
export type Standing = 'public' | 'closed' | 'unknown'

/** The other nodes' knowledge of registries' answers to requests without credentials. No call rejects; each ends within seconds. */
export interface ClusterProofs {
  /** Age in milliseconds of a registry's last public answer for a repository; undefined if no node knows one. */
  ask(repository: Repository): Promise<number | undefined>
  /** Lets the node that is responsible for a repository ask the registry; undefined if this node must ask the registry itself. */
  prove(repository: Repository, content: NamedContent): Promise<PublicWord | undefined>
  /** Tells the nodes that {@link ask} asks. */
  tell(repository: Repository, isPublic: boolean): void
}

export interface PublicProofsOptions {
  readonly upstream: Pick<Upstream, 'shows'>
  readonly cluster?: ClusterProofs | undefined
  /** False in a cluster without a secret, where any host could claim that a private repository is public. True if absent. */
  readonly believesPeers?: boolean
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

/** Pause after a failure before the next request: an image with many layers must not wait for a timeout per layer. */
const FAILURE_LIFE = 5 * second
const ABSENT_LIFE = 1 * minute
/** Pause between two questions to the cluster about one repository. */
const CLUSTER_PAUSE = 10 * second
const CHECK_TIMEOUT = 3 * second
/** Size of each cache whose entries live for seconds. */
const MAX_SHORT = 2000

/**
 * Finds out what registries show to requests without credentials: from the record, else from the cluster, else with a HEAD to the
 * registry, which costs no quota. While the registry cannot be asked, older proofs still count.
 */
export class PublicProofs {
  readonly #options: PublicProofsOptions
  readonly #now: () => number
  readonly #record: PublicRecord
  /** By repository: until when the registry is not asked, and what its failure said. */
  readonly #failures = new LRUCache<string, { word: 'unclear' | 'unknown'; until: number }>(atMost(MAX_SHORT))
  /** By question: when the registry answered 404. */
  readonly #absent = new LRUCache<string, number>(atMost(MAX_SHORT))
  /** By repository: until when the cluster is not asked. */
  readonly #clusterPauses = new LRUCache<string, number>(atMost(MAX_SHORT))
  readonly #pending = new Map<string, Promise<Word>>()

  constructor(options: PublicProofsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#record = new PublicRecord(this.#now)
  }

  /** Whether the repository is public, without asking; undefined if no answer is recent enough. */
  known(repository: Repository): boolean | undefined {
    return this.#record.verdict(repository)
  }

  /** Whether content that came from a repository is public, without asking. */
  openness(source: Repository & Partial<ContentSource>): Openness {
    return this.#record.openness(source)
  }

  /** Like {@link openness}, but asks the cluster, never a registry, if this node does not know. */
  async hearOpenness(source: Repository & Partial<ContentSource>): Promise<Openness> {
    const known = this.openness(source)
    const key = repositoryKey(source)
    const cluster = this.#clusterFor(source)
    if (known === 'public' || known === 'closed' || cluster === undefined) return known
    if ((this.#clusterPauses.get(key) ?? 0) > this.#now()) return known
    const age = await cluster.ask(source)
    // Pause after a useful answer too: it may be too old for this content, and each request would ask again.
    this.#clusterPauses.set(key, this.#now() + CLUSTER_PAUSE)
    if (age !== undefined && !this.#record.refutes(source, age)) this.#record.setPublic(source, age)
    return this.openness(source)
  }

  /** Age in milliseconds of the registry's last public answer for the repository; undefined if unknown or refused since. */
  publicAge(repository: Repository): number | undefined {
    return this.#record.publicAge(repository)
  }

  /** True if this node has a proof for everybody that is at most a day old. */
  knows(repository: Repository, { digest }: NamedContent): boolean {
    return (this.#record.proofAge(repository, digest) ?? Infinity) < PUBLIC_LIFE
  }

  /**
   * Records that the registry showed a digest or a tag to a request without credentials, `age` milliseconds ago. A digest is proven by that; a
   * tag says only that the repository is public.
   */
  shown(repository: Repository, reference: string, age = 0): void {
    if (this.#record.refutes(repository, age)) return
    const isNews = this.known(repository) !== true
    this.#record.setPublic(repository, age)
    this.#record.setProof(repository, reference, age)
    if (isNews) this.#clusterFor(repository)?.tell(repository, true)
  }

  /** Records that the registry refused the repository to a request without credentials. */
  refused(repository: Repository): void {
    const wasPublic = this.#record.wasPublic(repository)
    this.#record.refuse(repository)
    if (wasPublic) this.#clusterFor(repository)?.tell(repository, false)
  }

  /** Records a peer's claim that the repository was public at most `age` milliseconds ago. This node's own recent refusal wins. */
  heard(repository: Repository, age = 0): void {
    if (!this.#believes(repository) || this.#record.isRefused(repository)) return
    // Do not refresh a valid verdict: peers that repeat each other's claims would keep it young forever.
    if (this.known(repository) !== true) this.#record.setPublic(repository, age)
  }

  /** Records a holder's claim that one content is public. The claim does not cover the repository, which may be closed by now. */
  heardOf(repository: Repository, digest: string): void {
    if (!this.#believes(repository) || this.#record.isRefused(repository)) return
    if (this.#record.proofAge(repository, digest) === undefined) this.#record.setProof(repository, digest, 0)
  }

  /** Records that a peer needed credentials for content of the repository. A known verdict wins. */
  notePrivate(repository: Repository): void {
    if (this.known(repository) === undefined && this.#believes(repository)) this.#record.setPrivate(repository)
  }

  /** Invalidates all proofs of a repository: the registry refused it to a peer. */
  forget(repository: Repository): void {
    if (this.#believes(repository)) this.#record.forget(repository)
  }

  /**
   * Whether the registry shows a repository to everybody. The digest or tag of the client's request serves as the probe. An answer older
   * than `maxAge` milliseconds counts only while the registry cannot be asked.
   */
  async standing(
    repository: Repository,
    { kind, reference }: Probe,
    { signal, maxAge = PUBLIC_LIFE }: { signal: AbortSignal; maxAge?: number },
  ): Promise<Standing> {
    // Only the registry's own refusal counts here: a peer's claim is too weak to ask a client for its credentials.
    if (this.#record.isRefused(repository)) return 'closed'
    const openness = await this.hearOpenness({ ...repository, at: -Infinity })
    const age = openness === 'public' || openness === 'stale' ? (this.publicAge(repository) ?? Infinity) : Infinity
    if (age < maxAge) return 'public'
    const failure = this.#failureOf(repository)
    if (failure !== undefined) return this.#standingAfter(failure, repository, age)
    const digest = parseDigest(reference)
    const { word } =
      digest === undefined || maxAge < PUBLIC_LIFE
        ? await this.#askRegistry(repository, { kind, reference })
        : await this.#ask(repository, { kind, digest })
    signal.throwIfAborted()
    switch (word) {
      case 'shown':
        return 'public'
      case 'refused':
        return 'closed'
      case 'absent':
        return 'unknown'
      case 'unclear':
      case 'unknown':
        return this.#standingAfter(word, repository, age)
    }
  }

  /** The registry's answer for one content to a request without credentials. */
  async proves(repository: Repository, content: NamedContent, options: { signal: AbortSignal }): Promise<RegistryWord> {
    const { word } = this.#knownWord(repository, content) ?? (await this.#ask(repository, content))
    options.signal.throwIfAborted()
    return word
  }

  /** Like {@link proves}, on behalf of another node: asks the registry itself, never a third node. */
  async proveFor(repository: Repository, content: NamedContent): Promise<PublicWord> {
    // `localhost` means a different registry on the other node.
    if (isLocalRegistry(repository.registry)) return { word: 'unknown', age: 0 }
    const { word, age } =
      this.#knownWord(repository, content) ?? (await this.#askRegistry(repository, probeOf(content)))
    // The other node then asks the registry itself.
    return word === 'unclear' ? { word: 'unknown', age: 0 } : { word, age }
  }

  /** What the proofs file keeps, most recently used first; at most `max` repositories and `max` proofs. */
  kept(max: number): KeptRepository[] {
    return this.#record.kept(max)
  }

  /** Adds what an earlier process kept. A verdict of this process is newer and stays. */
  restore(kept: readonly KeptRepository[]): void {
    this.#record.restore(kept)
  }

  /** Calls `listener` after each change of what {@link kept} returns. */
  onChange(listener: () => void): void {
    this.#record.onChange(listener)
  }

  #knownWord(repository: Repository, content: NamedContent): Word | undefined {
    const age = this.#record.proofAge(repository, content.digest)
    if (age !== undefined && age < PUBLIC_LIFE) return { word: 'shown', age }
    if (this.#record.isRefused(repository)) return { word: 'refused', age: 0 }
    const failure = this.#failureOf(repository)
    if (failure !== undefined) return this.#wordAfter(failure, repository, probeOf(content))
    const absentAge = this.#absentAge(repository, probeOf(content))
    return absentAge !== undefined && absentAge < ABSENT_LIFE ? { word: 'absent', age: 0 } : undefined
  }

  /** `age`: of the last public answer; it counts on only while the registry cannot be asked. */
  #standingAfter(failure: 'unclear' | 'unknown', repository: Repository, age: number): Standing {
    const counts = failure === 'unknown' && age < Infinity && !this.#record.isInDoubt(repository, age)
    return counts ? 'public' : 'unknown'
  }

  /** The answer while the registry cannot be asked: a proof of any age, unless the registry did not show the content since. */
  #wordAfter(failure: 'unclear' | 'unknown', repository: Repository, probe: Probe): Word {
    const age = this.#record.proofAge(repository, probe.reference)
    const absentAge = this.#absentAge(repository, probe) ?? Infinity
    const counts = failure === 'unknown' && age !== undefined && absentAge >= age
    return counts && !this.#record.isInDoubt(repository, age) ? { word: 'shown', age } : { word: failure, age: 0 }
  }

  /** Age in milliseconds of the registry's last 404. Per kind: a layer's digest is absent under `/manifests/`. */
  #absentAge(repository: Repository, probe: Probe): number | undefined {
    const since = this.#absent.get(questionKey(repository, probe))
    return since === undefined ? undefined : this.#now() - since
  }

  /** Asks the cluster, else the registry. */
  #ask(repository: Repository, content: NamedContent): Promise<Word> {
    const probe = probeOf(content)
    return this.#once('anybody', repository, probe, async () => {
      const heard = await this.#clusterFor(repository)?.prove(repository, content)
      if (heard === undefined || heard.word === 'unknown') return this.#askRegistry(repository, probe)
      if (heard.word === 'shown' && this.#record.refutes(repository, heard.age))
        return this.#askRegistry(repository, probe)
      return this.#learn(repository, probe, heard)
    })
  }

  #askRegistry(repository: Repository, probe: Probe): Promise<Word> {
    return this.#once('registry', repository, probe, () => this.#askRegistryNow(repository, probe))
  }

  async #askRegistryNow(repository: Repository, probe: Probe): Promise<Word> {
    const what = 'asking a registry what it shows to everybody'
    try {
      const shown = await withDeadline(CHECK_TIMEOUT, what, new AbortController().signal, (signal) =>
        this.#options.upstream.shows(repository, probe, { signal, as: 'anonymous' }),
      )
      if (shown === undefined) return this.#learn(repository, probe, { word: 'absent', age: 0 })
      this.shown(repository, probe.reference)
      return { word: 'shown', age: 0 }
    } catch (error) {
      const word = wordOfFailure(error)
      if (word === 'refused') {
        this.refused(repository)
        return { word, age: 0 }
      }
      if (word === 'unclear') this.#record.doubt(repository)
      this.#failures.set(repositoryKey(repository), { word, until: this.#now() + FAILURE_LIFE })
      return this.#wordAfter(word, repository, probe)
    }
  }

  /**
   * Runs one request for all callers that wait for the same answer, so it does not take the first caller's signal. Requests to the
   * registry and to the cluster have separate keys: two nodes that each delegate to the other must not wait for each other.
   */
  #once(target: 'anybody' | 'registry', repository: Repository, probe: Probe, ask: () => Promise<Word>): Promise<Word> {
    const key = `${target} ${questionKey(repository, probe)}`
    const running = this.#pending.get(key)
    if (running !== undefined) return running
    const asking = ask().finally(() => this.#pending.delete(key))
    this.#pending.set(key, asking)
    return asking
  }

  #learn(repository: Repository, probe: Probe, heard: PublicWord): PublicWord {
    switch (heard.word) {
      case 'shown':
        this.#record.setPublic(repository, heard.age)
        this.#record.setProof(repository, probe.reference, heard.age)
        break
      case 'refused':
        this.#record.refuse(repository)
        break
      case 'absent':
        this.#absent.set(questionKey(repository, probe), this.#now())
        break
      case 'unknown':
    }
    return heard
  }

  #failureOf(repository: Repository): 'unclear' | 'unknown' | undefined {
    const failure = this.#failures.get(repositoryKey(repository))
    return failure !== undefined && failure.until > this.#now() ? failure.word : undefined
  }

  /** `localhost` means a different registry on each node. */
  #clusterFor({ registry }: Repository): ClusterProofs | undefined {
    return isLocalRegistry(registry) ? undefined : this.#options.cluster
  }

  #believes({ registry }: Repository): boolean {
    return this.#options.believesPeers !== false && !isLocalRegistry(registry)
  }
}

/** A registry's answer to this node, and its age in milliseconds. */
interface Word {
  readonly word: RegistryWord
  readonly age: number
}

function probeOf({ kind, digest }: NamedContent): Probe {
  return { kind, reference: digest }
}

function questionKey(repository: Repository, { kind, reference }: Probe): string {
  return `${kind} ${repositoryKey(repository)}@${reference}`
}
