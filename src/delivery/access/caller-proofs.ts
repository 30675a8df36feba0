import { createHmac, randomBytes } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import { type PullCredential, type Upstream, UpstreamError, type UpstreamProof } from '../../upstream/upstream.ts'
import type { Caller, Probe, RegistryWord } from './audience.ts'

export interface CallerProofsOptions {
  readonly upstream: Pick<Upstream, 'shows'>
  /** Told of each answer that needed no credentials after all. */
  readonly onAnonymous?: (repository: Repository, reference: string) => void
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

/** Whose rights: a caller's, or those of this node's own credentials. */
export type Holder = Caller | 'node'

/** As long as registries' own tokens live: a caller that lost a right keeps it no longer than there. */
const SHOWN_LIFE = 5 * minute
/** A registry counts wrong passwords. */
const REFUSED_LIFE = 1 * minute
const ABSENT_LIFE = 10 * second
const CHECK_TIMEOUT = 3 * second
const MAX_PROOFS = 10_000
const MAX_REFUSALS = 2000

/**
 * What registries show to the holders of credentials. A proof concerns one digest or tag of one repository: it is the registry's answer
 * to a GET that was made anyway, or to a HEAD, which costs no quota, and lasts five minutes.
 */
export class CallerProofs {
  readonly #options: CallerProofsOptions
  readonly #now: () => number
  /** Of this process alone: the ids that are made with it are worth nothing elsewhere. */
  readonly #key = randomBytes(32)
  /** Until when a proof counts, by holder, repository and reference. */
  readonly #proofs = new LRUCache<string, number>({ max: MAX_PROOFS })
  /** Until when something is absent, by holder and question: a layer is no manifest. */
  readonly #absent = new LRUCache<string, number>({ max: MAX_REFUSALS })
  /** Until when a holder is not asked about, by holder and repository. */
  readonly #refusals = new LRUCache<string, number>({ max: MAX_REFUSALS })
  readonly #pending = new Map<string, Promise<RegistryWord>>()

  constructor(options: CallerProofsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** The caller with this credential; nothing is known of its rights. */
  identify(credential: PullCredential): Caller {
    const { username, password } = credential
    const id = createHmac('sha256', this.#key)
      .update(JSON.stringify([username, password]))
      .digest('base64url')
    return { id, credential }
  }

  /** The registry's word on whether a holder may have this. */
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
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Not the first request's signal: a client that fetches layers side by side asks for the same things again.
      pending = this.#ask(holder, repository, probe).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    const word = await pending
    options.signal.throwIfAborted()
    return word
  }

  /** Whether a proof is at hand. */
  knows(holder: Holder, repository: Repository, reference: string): boolean {
    return (this.#proofs.get(proofKey(holder, repository, reference)) ?? 0) > this.#now()
  }

  /** The registry gave or showed it to this holder. */
  shown(holder: Holder, repository: Repository, reference: string): void {
    this.#proofs.set(proofKey(holder, repository, reference), this.#now() + SHOWN_LIFE)
  }

  /** The registry did not take the credential for this repository. */
  refused(holder: Holder, repository: Repository): void {
    const key = holderKey(holder, repository)
    for (const proof of [...this.#proofs.keys()]) if (proof.startsWith(`${key}@`)) this.#proofs.delete(proof)
    this.#refusals.set(key, this.#now() + REFUSED_LIFE)
  }

  /** Whether the registry has refused a holder this repository within the last minute. */
  isRefused(holder: Holder, repository: Repository): boolean {
    return (this.#refusals.get(holderKey(holder, repository)) ?? 0) > this.#now()
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
      if (!(error instanceof UpstreamError) || error.reason !== 'denied') return 'unknown'
      this.refused(holder, repository)
      return 'refused'
    }
  }

  #note(holder: Holder, repository: Repository, { reference }: Probe, { anonymous, digest }: UpstreamProof): void {
    // What a tag names is shown with it.
    for (const proven of new Set([reference, ...(digest === undefined ? [] : [digest])])) {
      if (anonymous) this.#options.onAnonymous?.(repository, proven)
      this.shown(holder, repository, proven)
    }
  }
}

function holderKey(holder: Holder, repository: Repository): string {
  return `${holder === 'node' ? holder : holder.id} ${repositoryKey(repository)}`
}

function questionKey(holder: Holder, repository: Repository, { kind, reference }: Probe): string {
  return `${kind} ${proofKey(holder, repository, reference)}`
}

function proofKey(holder: Holder, repository: Repository, reference: string): string {
  return `${holderKey(holder, repository)}@${reference}`
}
