import { createHmac, randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import {
  type PullCredential,
  type TokenError,
  type Upstream,
  UpstreamError,
  type UpstreamProof,
} from '../../upstream/upstream.ts'
import type { Caller, Probe, RegistryWord } from './audience.ts'
import { wordOfFailure } from './word-of-failure.ts'

export interface CallerProofsOptions {
  readonly upstream: Pick<Upstream, 'shows'>
  /** Called for each 200 that the registry gave without credentials. */
  readonly onAnonymous?: (repository: Repository, reference: string) => void
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

/** A registry's refusal of a repository to a holder, with the code that it gave. */
export interface Refusal {
  readonly tokenError: TokenError | undefined
}

/** The owner of credentials: a caller, or this node. */
export type Holder = Caller | 'node'

/** The usual lifetime of registry tokens: a revoked right ends here as soon as at the registry. */
const SHOWN_LIFE = 5 * minute
/** Registries lock accounts after repeated failed logins. */
const REFUSED_LIFE = 1 * minute
const ABSENT_LIFE = 10 * second
/** After a question without a clear answer: an image with many layers must not wait for the registry once a layer. It grants nothing. */
const UNCLEAR_LIFE = 5 * second
const CHECK_TIMEOUT = 3 * second
const MAX_PROOFS = 10_000
const MAX_REFUSALS = 2000

/**
 * Registries' answers to requests with credentials. A proof covers one digest or tag of one repository and lasts five minutes. It comes
 * from a GET that Nabo sent anyway, or from a HEAD, which costs no quota.
 */
export class CallerProofs {
  readonly #options: CallerProofsOptions
  readonly #now: () => number
  /** Random per process, so that ids reveal no password and match nothing outside this process. */
  readonly #key = randomBytes(32)
  /** By holder, repository and reference: when the proof expires. */
  readonly #proofs = new LRUCache<string, number>(atMost(MAX_PROOFS))
  /** By holder, kind, repository and reference: when a 404 expires. A layer's digest is absent under `/manifests/`. */
  readonly #absent = new LRUCache<string, number>(atMost(MAX_REFUSALS))
  /** By holder and repository. */
  readonly #refusals = new LRUCache<string, Refusal & { readonly until: number }>(atMost(MAX_REFUSALS))
  /** By holder, kind and repository: until when no question is sent, since the last one had no answer, or one that shows nothing. */
  readonly #unclear = new LRUCache<string, { word: 'unclear' | 'unknown'; until: number }>(atMost(MAX_REFUSALS))
  readonly #pending = new Map<string, Promise<RegistryWord>>()

  constructor(options: CallerProofsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** The caller with this credential. Checks no rights. */
  identify(credential: PullCredential): Caller {
    const { username, password, encoding } = credential
    const id = createHmac('sha256', this.#key)
      .update(JSON.stringify([username, password, encoding]))
      .digest('base64url')
    return { id, credential }
  }

  /** The registry's answer for a holder: from memory, else from a HEAD. */
  async proves(
    holder: Holder,
    repository: Repository,
    probe: Probe,
    options: { signal: AbortSignal },
  ): Promise<RegistryWord> {
    if (this.isRefused(holder, repository)) return 'refused'
    if (this.knows(holder, repository, probe.reference)) return 'shown'
    const key = questionKey(holder, repository, probe)
    if ((this.#absent.get(key) ?? 0) > this.#now()) return 'absent'
    const unclear = this.#unclear.get(unclearKey(holder, repository, probe))
    if (unclear !== undefined && unclear.until > this.#now()) return unclear.word
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Several requests wait for this answer, so it does not take the first request's signal.
      pending = this.#ask(holder, repository, probe).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    const word = await pending
    options.signal.throwIfAborted()
    return word
  }

  /** True if a valid proof is in memory. */
  knows(holder: Holder, repository: Repository, reference: string): boolean {
    return (this.#proofs.get(proofKey(holder, repository, reference)) ?? 0) > this.#now()
  }

  /** Records that the registry answered this holder with 200. */
  shown(holder: Holder, repository: Repository, reference: string): void {
    this.#proofs.set(proofKey(holder, repository, reference), this.#now() + SHOWN_LIFE)
    for (const kind of ['manifests', 'blobs'] as const) this.#unclear.delete(unclearKey(holder, repository, { kind }))
  }

  /** Records that the registry refused the repository to this holder, and with which error; drops the holder's proofs for it. */
  refused(holder: Holder, repository: Repository, error?: unknown): void {
    const key = holderKey(holder, repository)
    for (const proof of [...this.#proofs.keys()]) if (proof.startsWith(`${key}@`)) this.#proofs.delete(proof)
    const tokenError = error instanceof UpstreamError ? error.tokenError : undefined
    this.#refusals.set(key, { tokenError, until: this.#now() + REFUSED_LIFE })
  }

  /** True if the registry refused the repository to this holder within the last minute. */
  isRefused(holder: Holder, repository: Repository): boolean {
    return this.refusal(holder, repository) !== undefined
  }

  /** The registry's refusal of the repository to this holder within the last minute; undefined if there was none. */
  refusal(holder: Holder, repository: Repository): Refusal | undefined {
    const refusal = this.#refusals.get(holderKey(holder, repository))
    return refusal !== undefined && refusal.until > this.#now() ? refusal : undefined
  }

  async #ask(holder: Holder, repository: Repository, probe: Probe): Promise<RegistryWord> {
    const what = 'asking a registry what it shows to a client'
    const as = holder === 'node' ? 'node' : holder.credential
    try {
      const shown = await withDeadline(CHECK_TIMEOUT, what, new AbortController().signal, (signal) =>
        this.#options.upstream.shows(repository, probe, { signal, as }),
      )
      if (shown === undefined) {
        this.#absent.set(questionKey(holder, repository, probe), this.#now() + ABSENT_LIFE)
        return 'absent'
      }
      this.#note(holder, repository, probe, shown)
      return 'shown'
    } catch (error) {
      const word = wordOfFailure(error)
      if (word === 'refused') this.refused(holder, repository, error)
      else this.#unclear.set(unclearKey(holder, repository, probe), { word, until: this.#now() + UNCLEAR_LIFE })
      return word
    }
  }

  #note(holder: Holder, repository: Repository, { reference }: Probe, { anonymous, digest }: UpstreamProof): void {
    // An answer for a tag also proves the digest that the tag names.
    for (const proven of new Set([reference, ...(digest === undefined ? [] : [digest])])) {
      if (anonymous) this.#options.onAnonymous?.(repository, proven)
      this.shown(holder, repository, proven)
    }
  }
}

function holderKey(holder: Holder, repository: Repository): string {
  return `${holder === 'node' ? holder : holder.id} ${repositoryKey(repository)}`
}

function unclearKey(holder: Holder, repository: Repository, { kind }: Pick<Probe, 'kind'>): string {
  return `${kind} ${holderKey(holder, repository)}`
}

function questionKey(holder: Holder, repository: Repository, { kind, reference }: Probe): string {
  return `${kind} ${proofKey(holder, repository, reference)}`
}

function proofKey(holder: Holder, repository: Repository, reference: string): string {
  return `${holderKey(holder, repository)}@${reference}`
}
