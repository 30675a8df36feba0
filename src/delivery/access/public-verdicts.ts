import { parseDigest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { withDeadline } from '../../time/deadline.ts'
import { hour, minute, second } from '../../time/units.ts'
import type { Upstream } from '../../upstream/upstream.ts'

/** What to ask a registry for, to find out whether it shows a repository to anybody. */
export interface Probe {
  readonly kind: 'manifests' | 'blobs'
  /** A digest or a tag. */
  readonly reference: string
  /** True for a digest that is known to be of the repository: who does not show it hides the repository. */
  readonly isMember: boolean
}

/** `closed`: the registry refuses the repository to whoever has no credentials. `unknown`: it did not say. */
export type Standing = 'public' | 'closed' | 'unknown'

/** What the other nodes know about repositories. Neither of these rejects or takes long. */
export interface ClusterVerdicts {
  /** How long ago a registry showed a repository to anybody, in milliseconds; undefined if nobody knows of it. */
  ask(repository: Repository): Promise<number | undefined>
  /** Tells those who are going to be asked. */
  tell(repository: Repository, isPublic: boolean): void
}

export interface PublicVerdictsOptions {
  readonly upstream: Pick<Upstream, 'headManifest' | 'headBlob'>
  readonly cluster?: ClusterVerdicts | undefined
  /** False in a cluster without a secret: there a stranger could call a private repository public. True if absent. */
  readonly believesPeers?: boolean
}

interface Verdict {
  readonly isPublic: boolean
  /** False if the upstream could not say. */
  readonly certain: boolean
  /** True if it refused; false if it did not have what it was asked for, or a neighbour has told. */
  readonly refused: boolean
  /** When the upstream said so. */
  readonly since: number
  readonly until: number
}

interface Outcome {
  readonly standing: Standing
  /** The reference that the registry did not have; nothing is said about others. */
  readonly absent?: string
}

const PUBLIC_LIFE = 24 * hour
const PRIVATE_LIFE = 1 * minute
/** An upstream that cannot be reached says nothing; it is not asked again for each layer of an image. */
const UNKNOWN_LIFE = 5 * second
const CHECK_TIMEOUT = 3 * second
const MAX_VERDICTS = 10_000

/** Which repositories anybody may pull from: remembered, else asked of the cluster and of the registry without credentials. */
export class PublicVerdicts {
  readonly #options: PublicVerdictsOptions
  readonly #verdicts = new Map<string, Verdict>()
  readonly #pending = new Map<string, Promise<Outcome>>()

  constructor(options: PublicVerdictsOptions) {
    this.#options = options
  }

  /** Whether anybody may pull from a repository, as far as that is certain without asking. */
  known(repository: Repository): boolean | undefined {
    const verdict = this.#fresh(repository)
    return verdict?.certain === true ? verdict.isPublic : undefined
  }

  /** How long ago a registry showed the repository to anybody, in milliseconds; undefined if that is not known, or no longer so. */
  publicAge(repository: Repository): number | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict?.isPublic === true ? Math.max(0, Date.now() - verdict.since) : undefined
  }

  /** The upstream showed it to a request without credentials. */
  notePublic(repository: Repository): void {
    const isNews = this.known(repository) !== true
    this.#rememberPublic(repository, 0)
    if (isNews) this.#options.cluster?.tell(repository, true)
  }

  /** A neighbour says that it is public, which counts unless the registry has just refused it to this node. */
  heardPublic(repository: Repository): void {
    if (this.#options.believesPeers === false || this.#fresh(repository)?.refused === true) return
    this.#rememberPublic(repository, 0)
  }

  /** A neighbour had something of it with credentials only. What is known to be public stays so. */
  notePrivate(repository: Repository): void {
    if (this.#fresh(repository) !== undefined) return
    const verdict = { isPublic: false, certain: true, refused: false, since: Date.now() }
    this.#remember(repository, verdict, PRIVATE_LIFE)
  }

  /** A neighbour was refused what was public before: what is kept for others is not told to them any more. */
  forget(repository: Repository): void {
    this.#verdicts.delete(repositoryKey(repository))
  }

  /** Whether the registry shows a repository to anybody. */
  async standing(repository: Repository, probe: Probe, options: { signal: AbortSignal }): Promise<Standing> {
    const known = this.#knownStanding(repository, probe)
    if (known !== undefined) return known
    const key = repositoryKey(repository)
    const running = this.#pending.get(key)
    if (running !== undefined) {
      const { standing, absent } = await running
      options.signal.throwIfAborted()
      if (absent === undefined || absent === probe.reference) return standing
      // That another digest is not there says nothing about this one.
      return this.standing(repository, probe, options)
    }
    // Not the first caller's signal: others wait for the same answer, and its deadline is short.
    const asking = this.#ask(repository, probe).finally(() => this.#pending.delete(key))
    this.#pending.set(key, asking)
    const { standing } = await asking
    options.signal.throwIfAborted()
    return standing
  }

  #knownStanding(repository: Repository, { isMember }: Probe): Standing | undefined {
    const verdict = this.#fresh(repository)
    if (verdict === undefined) return undefined
    if (verdict.isPublic) return 'public'
    if (!verdict.certain) return 'unknown'
    // Enough to keep what is here to oneself, not enough to ask a client for its credentials.
    return verdict.refused || isMember ? 'closed' : undefined
  }

  async #ask(repository: Repository, probe: Probe): Promise<Outcome> {
    const before = this.#verdicts.get(repositoryKey(repository))
    const heard = await this.#hear(repository, before)
    if (heard !== undefined && heard < PUBLIC_LIFE) {
      this.#rememberPublic(repository, heard)
      return { standing: 'public' }
    }
    const wasPublic = before?.isPublic === true || heard !== undefined
    try {
      if (await this.#isShown(repository, probe)) {
        this.notePublic(repository)
        return { standing: 'public' }
      }
      // It may be hidden, or simply not be there.
      if (!probe.isMember) return { standing: 'unknown', absent: probe.reference }
      return this.#closed(repository, { refused: false, wasPublic })
    } catch (error) {
      if ((error as { reason?: unknown }).reason === 'denied') {
        return this.#closed(repository, { refused: true, wasPublic })
      }
      // What was public yesterday is taken as public while nobody can say otherwise.
      const since = Math.max(before?.isPublic === true ? before.since : 0, heard === undefined ? 0 : Date.now() - heard)
      this.#remember(repository, { isPublic: wasPublic, certain: false, refused: false, since }, UNKNOWN_LIFE)
      return { standing: wasPublic ? 'public' : 'unknown' }
    }
  }

  /** What the cluster says, unless this node knows better: a refusal that came later. */
  async #hear(repository: Repository, before: Verdict | undefined): Promise<number | undefined> {
    const age = await this.#options.cluster?.ask(repository)
    if (age === undefined) return undefined
    const isRefuted = before?.certain === true && !before.isPublic && before.since > Date.now() - age
    return isRefuted ? undefined : age
  }

  async #isShown(repository: Repository, { kind, reference }: Probe): Promise<boolean> {
    const { upstream } = this.#options
    const digest = parseDigest(reference)
    const what = 'asking whether a repository is public'
    const found = await withDeadline<unknown>(CHECK_TIMEOUT, what, new AbortController().signal, async (signal) => {
      const options = { signal, as: 'anonymous' } as const
      if (kind === 'manifests') return upstream.headManifest(repository, reference, options)
      return digest && upstream.headBlob(repository, digest, options)
    })
    return found !== undefined
  }

  #closed(repository: Repository, { refused, wasPublic }: { refused: boolean; wasPublic: boolean }): Outcome {
    this.#remember(repository, { isPublic: false, certain: true, refused, since: Date.now() }, PRIVATE_LIFE)
    if (wasPublic) this.#options.cluster?.tell(repository, false)
    return { standing: 'closed' }
  }

  /** `age` is how long ago that was found out, in milliseconds. */
  #rememberPublic(repository: Repository, age: number): void {
    const verdict = { isPublic: true, certain: true, refused: false, since: Date.now() - age }
    this.#remember(repository, verdict, PUBLIC_LIFE - age)
  }

  #fresh(repository: Repository): Verdict | undefined {
    const verdict = this.#verdicts.get(repositoryKey(repository))
    return verdict !== undefined && verdict.until > Date.now() ? verdict : undefined
  }

  #remember(repository: Repository, verdict: Omit<Verdict, 'until'>, life: number): void {
    const key = repositoryKey(repository)
    this.#verdicts.delete(key)
    if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.delete(this.#verdicts.keys().next().value ?? '')
    this.#verdicts.set(key, { ...verdict, until: Date.now() + life })
  }
}
