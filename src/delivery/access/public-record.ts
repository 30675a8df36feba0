import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { parseDigest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentSource } from '../../store/content-store.ts'
import { hour, minute } from '../../time/units.ts'
import { ProofTable } from './proof-table.ts'

/** `stale`: public at the registry's last answer, more than a day ago; enough while the registry cannot be asked. */
export type Openness = 'public' | 'stale' | 'closed' | 'unknown'

/** A public repository and its proofs, as the proofs file keeps them; each `age` in milliseconds. */
export interface KeptRepository {
  readonly repository: Repository
  readonly age: number
  readonly contents: readonly { readonly digest: string; readonly age: number }[]
}

interface Verdict {
  readonly isPublic: boolean
  /** True if the registry itself refused the repository to this node. */
  readonly isRefusal: boolean
  /** When the registry answered, by the monotonic clock. */
  readonly since: number
  readonly until: number
}

/** How long an answer without credentials counts before Nabo asks the registry again. */
export const PUBLIC_LIFE = 24 * hour
const PRIVATE_LIFE = 1 * minute
const MAX_REPOSITORIES = 5000

/**
 * What registries have shown to requests without credentials: which repositories are public, and which contents. Holds no connection and
 * asks no registry. A refusal invalidates everything that is older than the refusal.
 */
export class PublicRecord {
  readonly #now: () => number
  readonly #verdicts = new LRUCache<string, Verdict>(atMost(MAX_REPOSITORIES))
  readonly #proofs = new ProofTable()
  /** The time of each repository's last refusal; older proofs and verdicts do not count, even if a peer repeats them. */
  readonly #refusals = new LRUCache<string, number>(atMost(MAX_REPOSITORIES))
  /** The time of each repository's last answer that neither showed nor refused it; older proofs do not count beyond their day. */
  readonly #doubts = new LRUCache<string, number>(atMost(MAX_REPOSITORIES))
  #onChange: () => void = () => {}

  /** `now`: a monotonic clock in milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether the repository is public; undefined if no answer is recent enough. */
  verdict(repository: Repository): boolean | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict !== undefined && verdict.until > this.#now() ? verdict.isPublic : undefined
  }

  /** True if the last verdict was `public`, however old it is. */
  wasPublic(repository: Repository): boolean {
    return this.#verdicts.get(repositoryKey(repository))?.isPublic === true
  }

  /** Whether content that came from a repository is public. */
  openness({ access, at, ...repository }: Repository & Partial<ContentSource>): Openness {
    const now = this.#now()
    const verdict = this.#verdicts.get(repositoryKey(repository))
    // A source without a time comes from an earlier process, so it is older than every refusal in this process.
    let since = access === 'public' ? (at ?? Math.min(now - PUBLIC_LIFE, 0)) : -Infinity
    // Content that arrived after the last public answer may be private: the repository may have been closed in between.
    if (verdict?.isPublic === true && (access === 'public' || verdict.since >= (at ?? 0)))
      since = Math.max(since, verdict.since)
    if (since === -Infinity || this.#refusedAt(repository) > since)
      return this.verdict(repository) === false ? 'closed' : 'unknown'
    if (now - since < PUBLIC_LIFE) return 'public'
    return this.isInDoubt(repository, now - since) ? 'unknown' : 'stale'
  }

  /** Age in milliseconds of the last public answer for the repository; undefined if there is none or a refusal followed it. */
  publicAge(repository: Repository): number | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict?.isPublic === true ? Math.max(0, this.#now() - verdict.since) : undefined
  }

  /** Age in milliseconds of the proof for one digest; undefined without a proof or if a refusal followed it. */
  proofAge(repository: Repository, digest: string): number | undefined {
    const since = this.#proofs.get(repositoryKey(repository), digest)
    return since === undefined || this.#refusedAt(repository) > since ? undefined : this.#now() - since
  }

  /** True if the registry refused the repository to this node within the last minute. */
  isRefused(repository: Repository): boolean {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict?.isRefusal === true && verdict.until > this.#now()
  }

  /** True if this node knows of a refusal that is later than an answer of this age in milliseconds. */
  refutes(repository: Repository, age: number): boolean {
    return this.#refusedAt(repository) > this.#now() - age
  }

  /** Records that the registry was reached and neither showed nor refused the repository. */
  doubt(repository: Repository): void {
    this.#doubts.set(repositoryKey(repository), this.#now())
    this.#onChange()
  }

  /** True if {@link doubt} was called after an answer of this age in milliseconds. */
  isInDoubt(repository: Repository, age: number): boolean {
    return (this.#doubts.get(repositoryKey(repository)) ?? -Infinity) > this.#now() - age
  }

  /** Records a public answer for the repository, `age` milliseconds old. Keeps the later of two answers. */
  setPublic(repository: Repository, age: number): void {
    const since = this.#now() - age
    const before = this.#verdicts.get(repositoryKey(repository))
    if (before?.isPublic === true && before.since >= since) return
    this.#setVerdict(repository, { isPublic: true, isRefusal: false, since }, PUBLIC_LIFE - age)
    this.#onChange()
  }

  /** Records the proof for a digest, `age` milliseconds old. Ignores tags: a tag can move. */
  setProof(repository: Repository, reference: string, age: number): void {
    const digest = parseDigest(reference)
    if (digest === undefined) return
    this.#proofs.set(repositoryKey(repository), digest, this.#now() - age)
    this.#onChange()
  }

  /** Records for a minute that the repository is private, without a refusal by the registry. */
  setPrivate(repository: Repository): void {
    this.#setVerdict(repository, { isPublic: false, isRefusal: false, since: this.#now() }, PRIVATE_LIFE)
  }

  /** Records the registry's refusal. */
  refuse(repository: Repository): void {
    this.#invalidate(repository)
    this.#setVerdict(repository, { isPublic: false, isRefusal: true, since: this.#now() }, PRIVATE_LIFE)
    this.#onChange()
  }

  /** Invalidates everything that is recorded about the repository, as of now; the registry did not refuse this node. */
  forget(repository: Repository): void {
    if (this.wasPublic(repository)) this.#verdicts.delete(repositoryKey(repository))
    this.#invalidate(repository)
    this.#onChange()
  }

  /** The public repositories and their proofs that are not in doubt, most recently used first; at most `max` repositories and `max` proofs. */
  kept(max: number): KeptRepository[] {
    const now = this.#now()
    const contents = this.#proofs.entries(max)
    return [...this.#verdicts.entries()]
      .filter(([, { isPublic }]) => isPublic)
      .map(([key, { since }]) => {
        const repository = { registry: key.slice(0, key.indexOf('/')), name: key.slice(key.indexOf('/') + 1) }
        const proofs = (contents.get(key) ?? []).map(([digest, since]) => ({ digest, age: now - since }))
        return { repository, age: now - since, contents: proofs.filter(({ age }) => !this.isInDoubt(repository, age)) }
      })
      .filter(({ repository, age }) => !this.isInDoubt(repository, age))
      .slice(0, max)
  }

  /** Adds what an earlier process kept. A verdict of this process is newer and stays. */
  restore(kept: readonly KeptRepository[]): void {
    for (const { repository, age, contents } of kept.toReversed()) {
      if (this.#verdicts.has(repositoryKey(repository))) continue
      this.setPublic(repository, age)
      for (const { digest, age } of contents.toReversed()) this.setProof(repository, digest, age)
    }
  }

  /** Calls `listener` after each change of what {@link kept} returns. */
  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  #invalidate(repository: Repository): void {
    this.#proofs.drop(repositoryKey(repository))
    this.#refusals.set(repositoryKey(repository), this.#now())
  }

  #refusedAt(repository: Repository): number {
    return this.#refusals.get(repositoryKey(repository)) ?? -Infinity
  }

  #setVerdict(repository: Repository, verdict: Omit<Verdict, 'until'>, life: number): void {
    this.#verdicts.set(repositoryKey(repository), { ...verdict, until: this.#now() + life })
  }
}
