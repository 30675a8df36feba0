import type { Digest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentSource, ContentStore } from '../../store/content-store.ts'
import type { Audience } from './audience.ts'
import { PublicVerdicts, type PublicVerdictsOptions, type Standing } from './public-verdicts.ts'

export interface VisibilityOptions extends PublicVerdictsOptions {
  readonly store: Pick<ContentStore, 'sources'>
  /** `share` gives every image to everybody; the others only what is known to be public. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** True if all content was fetched by Nabo itself: what is not a caller's own was had with rights that this node's clients have. */
  readonly ownsContent: boolean
}

/** Why a digest belongs to a repository. `personal`: a caller had it from there with its own credentials. */
type Membership = ContentSource['access'] | 'personal'

/** A content that is asked for. */
interface Named {
  readonly kind: 'manifests' | 'blobs'
  readonly digest: Digest
}

const MAX_SEEN = 100_000
/** The best first. */
const RANKS: readonly Membership[] = ['imported', 'public', 'unknown', 'personal']

/**
 * Decides whether a digest may be seen under a repository. Digests carry the right, not names: the digest must belong to the
 * repository, and the repository must be open to whoever asks.
 */
export class Visibility {
  readonly #options: VisibilityOptions
  readonly #verdicts: PublicVerdicts
  /** What manifests that passed by have named, as `repository@digest`. */
  readonly #seen = new Map<string, Membership>()

  constructor(options: VisibilityOptions) {
    this.#options = options
    this.#verdicts = new PublicVerdicts(options)
  }

  /**
   * Notes that a manifest seen under a repository names these digests. `imported`: the neighbour it came from has them from its
   * owner, not from a registry, so that nobody could be asked about them.
   */
  noteMembers(
    repository: Repository,
    digests: Iterable<Digest>,
    access: 'imported' | 'unknown' | 'personal' = 'unknown',
  ): void {
    for (const digest of digests) {
      const key = memberKey(repository, digest)
      const kept = this.#seen.get(key)
      this.#seen.delete(key)
      if (this.#seen.size >= MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value ?? '')
      this.#seen.set(key, best(kept === undefined ? [access] : [kept, access]) ?? access)
    }
  }

  /** Notes that the upstream gave something of this repository to a caller without credentials. */
  notePublic(repository: Repository): void {
    this.#verdicts.notePublic(repository)
  }

  /** Notes that a neighbour says so. */
  heardPublic(repository: Repository): void {
    this.#verdicts.heardPublic(repository)
  }

  /** Notes that a neighbour had something of this repository with credentials only. What is known to be public stays so. */
  notePrivate(repository: Repository): void {
    this.#verdicts.notePrivate(repository)
  }

  /** Notes that a neighbour was refused what was public before. */
  forgetPublic(repository: Repository): void {
    this.#verdicts.forget(repository)
  }

  /** How long ago a registry showed the repository to anybody, in milliseconds; undefined if that is not known. */
  publicAge(repository: Repository): number | undefined {
    return this.#verdicts.publicAge(repository)
  }

  /** Whether anybody may pull from a repository, as far as that is known without asking. */
  knownVerdict(repository: Repository): boolean | undefined {
    return this.#verdicts.known(repository)
  }

  /** True if this node gives its neighbours everything, whoever may pull it from its registry. */
  get sharesAll(): boolean {
    return this.#options.policy === 'share'
  }

  /** Whether nodes may fetch from a repository together; true until it is known that they may not give each other what they get. */
  mayShare(repository: Repository): boolean {
    return this.sharesAll || this.knownVerdict(repository) !== false
  }

  /** Whether a digest may be seen under a repository. */
  async mayServe(
    repository: Repository,
    content: Named,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<boolean> {
    return (await this.access(repository, content, audience, options)) !== undefined
  }

  /** Why a digest may be seen under a repository; `unknown` if this node's owner allows it whatever it is, undefined if it may not. */
  async access(
    repository: Repository,
    content: Named,
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<ContentSource['access'] | undefined> {
    const membership = await this.#membershipOf(repository, content.digest, options)
    if (membership === 'public' || membership === 'imported') return membership
    // The registry was asked about this very digest, as the one it is for.
    if (this.#isVerified(audience)) return 'unknown'
    if (membership === undefined) return undefined
    if (this.knownVerdict(repository) === true) return 'public'
    if (this.sharesAll) return 'unknown'
    if (audience.kind === 'node' && this.#options.ownsContent && membership === 'unknown') return 'unknown'
    return (await this.isPublic(repository, content, options)) ? 'public' : undefined
  }

  /** Whether a digest is known to be of a repository, whoever may see it. */
  async belongs(repository: Repository, digest: Digest, options: { signal: AbortSignal }): Promise<boolean> {
    return (await this.#membershipOf(repository, digest, options)) !== undefined
  }

  /** Whether anybody may pull from a repository, of which `content` is known to be. */
  async isPublic(repository: Repository, content: Named, options: { signal: AbortSignal }): Promise<boolean> {
    const probe = { kind: content.kind, reference: content.digest, isMember: true }
    return (await this.#verdicts.standing(repository, probe, options)) === 'public'
  }

  /** What the registry shows to anybody, found out with whatever digest or tag a client asks for. */
  standing(
    repository: Repository,
    asked: { readonly kind: 'manifests' | 'blobs'; readonly reference: string },
    options: { signal: AbortSignal },
  ): Promise<Standing> {
    return this.#verdicts.standing(repository, { ...asked, isMember: false }, options)
  }

  #isVerified(audience: Audience): boolean {
    if (audience.kind === 'node') return audience.caller !== undefined
    return audience.verified === true && this.#options.policy !== 'skip'
  }

  async #membershipOf(
    repository: Repository,
    digest: Digest,
    options: { signal: AbortSignal },
  ): Promise<Membership | undefined> {
    const sources = await this.#options.store.sources(digest, options)
    const named = sources.filter((source) => source.registry === repository.registry && source.name === repository.name)
    const seen = this.#seen.get(memberKey(repository, digest))
    return best([...named.map((source) => source.access), ...(seen === undefined ? [] : [seen])])
  }
}

function best(memberships: readonly Membership[]): Membership | undefined {
  return RANKS.find((rank) => memberships.includes(rank))
}

function memberKey(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`
}
