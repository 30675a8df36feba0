import type { Digest } from '../oci/digest.ts'
import { type Repository, repositoryKey } from '../oci/reference.ts'
import type { ContentSource, ContentStore } from '../store/content-store.ts'
import { withDeadline } from '../time/deadline.ts'
import { hour, minute, second } from '../time/units.ts'
import type { Upstream } from '../upstream/upstream.ts'

/** Who asks: a client on this node, or a peer on behalf of its clients. */
export type Audience = 'node' | 'peer'

export interface VisibilityOptions {
  readonly store: Pick<ContentStore, 'sources'>
  readonly upstream: Pick<Upstream, 'headManifest' | 'headBlob'>
  /** `share` gives every image to everybody; the others only what is known to be public. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** True if all content was fetched by Nabo itself, with rights that this node's clients have anyway. */
  readonly ownsContent: boolean
}

interface Verdict {
  readonly isPublic: boolean
  readonly until: number
}

const PUBLIC_LIFE = 24 * hour
const PRIVATE_LIFE = 1 * minute
/** An upstream that cannot be reached says nothing; it is not asked again for each layer of an image. */
const UNKNOWN_LIFE = 5 * second
const CHECK_TIMEOUT = 3 * second
const MAX_VERDICTS = 10_000
const MAX_SEEN = 100_000

/**
 * Decides whether a digest may be seen under a repository. Digests carry the right, not names: the digest must belong to the
 * repository, and the repository must be open to whoever asks.
 */
export class Visibility {
  readonly #options: VisibilityOptions
  readonly #verdicts = new Map<string, Verdict>()
  readonly #pending = new Map<string, Promise<boolean>>()
  /** What manifests that passed by have named, as `repository@digest`. */
  readonly #seen = new Set<string>()

  constructor(options: VisibilityOptions) {
    this.#options = options
  }

  /** Notes that a manifest seen under a repository names these digests. */
  noteMembers(repository: Repository, digests: Iterable<Digest>): void {
    for (const digest of digests) addBounded(this.#seen, memberKey(repository, digest), MAX_SEEN)
  }

  /** Notes that the upstream gave something of this repository to a caller without credentials. */
  notePublic(repository: Repository): void {
    this.#remember(repositoryKey(repository), true, PUBLIC_LIFE)
  }

  async mayServe(
    repository: Repository,
    content: { kind: 'manifests' | 'blobs'; digest: Digest },
    audience: Audience,
    options: { signal: AbortSignal },
  ): Promise<boolean> {
    const source = await this.#sourceOf(repository, content.digest, options)
    if (source === undefined) return false
    if (source.access !== 'unknown') return true
    if (this.#options.policy === 'share' || (audience === 'node' && this.#options.ownsContent)) return true
    return this.isPublic(repository, content, options)
  }

  /** Whether anybody may pull from a repository: remembered for a day, else asked of the upstream without credentials. */
  async isPublic(
    repository: Repository,
    probe: { kind: 'manifests' | 'blobs'; digest: Digest },
    options: { signal: AbortSignal },
  ): Promise<boolean> {
    const key = repositoryKey(repository)
    const verdict = this.#verdicts.get(key)
    if (verdict !== undefined && verdict.until > Date.now()) return verdict.isPublic
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Not the first caller's signal: others wait for the same answer, and its deadline is short.
      pending = this.#ask(repository, probe, verdict?.isPublic === true).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    const answer = await pending
    options.signal.throwIfAborted()
    return answer
  }

  async #ask(
    repository: Repository,
    probe: { kind: 'manifests' | 'blobs'; digest: Digest },
    wasPublic: boolean,
  ): Promise<boolean> {
    const key = repositoryKey(repository)
    try {
      const found = await withDeadline<unknown>(
        CHECK_TIMEOUT,
        'asking whether a repository is public',
        neverAborted(),
        (signal) =>
          probe.kind === 'manifests'
            ? this.#options.upstream.headManifest(repository, probe.digest, { signal, as: 'anonymous' })
            : this.#options.upstream.headBlob(repository, probe.digest, { signal, as: 'anonymous' }),
      )
      this.#remember(key, found !== undefined, found === undefined ? PRIVATE_LIFE : PUBLIC_LIFE)
      return found !== undefined
    } catch (error) {
      const denied = (error as { reason?: unknown }).reason === 'denied'
      // What was public yesterday is taken as public while nobody can say otherwise.
      const isPublic = !denied && wasPublic
      this.#remember(key, isPublic, denied ? PRIVATE_LIFE : UNKNOWN_LIFE)
      return isPublic
    }
  }

  async #sourceOf(
    repository: Repository,
    digest: Digest,
    options: { signal: AbortSignal },
  ): Promise<ContentSource | undefined> {
    const sources = await this.#options.store.sources(digest, options)
    const named = sources.filter((source) => source.registry === repository.registry && source.name === repository.name)
    const open = named.find((source) => source.access !== 'unknown') ?? named[0]
    if (open !== undefined) return open
    return this.#seen.has(memberKey(repository, digest)) ? { ...repository, access: 'unknown' } : undefined
  }

  #remember(key: string, isPublic: boolean, life: number): void {
    this.#verdicts.delete(key)
    if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.delete(this.#verdicts.keys().next().value ?? '')
    this.#verdicts.set(key, { isPublic, until: Date.now() + life })
  }
}

function memberKey(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`
}

function addBounded(set: Set<string>, value: string, limit: number): void {
  set.delete(value)
  if (set.size >= limit) set.delete(set.values().next().value ?? '')
  set.add(value)
}

function neverAborted(): AbortSignal {
  return new AbortController().signal
}
