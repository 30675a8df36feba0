import { createHmac, randomBytes } from 'node:crypto'

import { type Digest, parseDigest } from '../../oci/digest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import { type PullCredential, type Upstream, UpstreamError } from '../../upstream/upstream.ts'
import type { Caller } from './audience.ts'
import type { Visibility } from './visibility.ts'

export interface CallersOptions {
  readonly upstream: Pick<Upstream, 'headManifest' | 'headBlob'>
  readonly visibility: Pick<Visibility, 'belongs' | 'noteMembers'>
}

/** What a client asks for: a digest or a tag of a repository. */
export interface Pull {
  readonly repository: Repository
  readonly kind: 'manifests' | 'blobs'
  readonly reference: string
}

interface Verdict {
  readonly isGood: boolean
  readonly until: number
}

/** As long as registries' own tokens live: who lost a right keeps it no longer than there. */
const GOOD_LIFE = 5 * minute
/** A registry counts wrong passwords. */
const DENIED_LIFE = 1 * minute
const CHECK_TIMEOUT = 3 * second
const MAX_VERDICTS = 10_000

/** Who may pull what with its own credentials: the registry is asked by HEAD, which costs no quota, and its word kept for minutes. */
export class Callers {
  readonly #options: CallersOptions
  /** Of this process alone: what is kept by it is worth nothing elsewhere. */
  readonly #key = randomBytes(32)
  readonly #verdicts = new Map<string, Verdict>()
  readonly #pending = new Map<string, Promise<boolean>>()

  constructor(options: CallersOptions) {
    this.#options = options
  }

  /**
   * The caller with this credential if it may pull what it asks for. A digest has to be of the repository: that a caller may see the
   * repository says nothing about what only another one has.
   */
  async admit(pull: Pull, credential: PullCredential, options: { signal: AbortSignal }): Promise<Caller | undefined> {
    const caller = { id: this.#idOf(credential), credential }
    const verdict = this.#verdictOn(caller, pull.repository)
    if (verdict === false) return undefined
    if (verdict === true && (await this.#isCovered(pull, options))) return caller
    const key = `${verdictKey(caller, pull.repository)} ${pull.kind} ${pull.reference}`
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Not the first request's signal: a client that fetches layers side by side asks for the same things again.
      pending = this.#ask(pull, caller).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    const isGood = await pending
    options.signal.throwIfAborted()
    return isGood ? caller : undefined
  }

  /** The registry did not take the credential after all. */
  refused(caller: Caller, repository: Repository): void {
    this.#remember(caller, repository, false)
  }

  /** A tag is asked for at the registry anyway, by this caller. */
  async #isCovered({ repository, reference }: Pull, options: { signal: AbortSignal }): Promise<boolean> {
    const digest = parseDigest(reference)
    return digest === undefined || this.#options.visibility.belongs(repository, digest, options)
  }

  async #ask(pull: Pull, caller: Caller): Promise<boolean> {
    const { repository } = pull
    try {
      const digest = await withDeadline(
        CHECK_TIMEOUT,
        'asking a registry about a client',
        new AbortController().signal,
        (signal) => this.#head(pull, caller, signal),
      )
      // A registry may hide from some what it shows to others, and this may simply not be there.
      if (digest === undefined) return false
      this.#options.visibility.noteMembers(repository, [digest], 'personal')
      this.#remember(caller, repository, true)
      return true
    } catch (error) {
      if (error instanceof UpstreamError && error.reason === 'denied') this.#remember(caller, repository, false)
      return false
    }
  }

  async #head({ repository, kind, reference }: Pull, caller: Caller, signal: AbortSignal): Promise<Digest | undefined> {
    const { upstream } = this.#options
    const options = { signal, as: caller.credential }
    const digest = parseDigest(reference)
    if (kind === 'manifests') {
      const found = await upstream.headManifest(repository, reference, options)
      return found && (digest ?? found.descriptor.digest)
    }
    return digest !== undefined && (await upstream.headBlob(repository, digest, options)) !== undefined
      ? digest
      : undefined
  }

  #verdictOn(caller: Caller, repository: Repository): boolean | undefined {
    const verdict = this.#verdicts.get(verdictKey(caller, repository))
    return verdict !== undefined && verdict.until > Date.now() ? verdict.isGood : undefined
  }

  #remember(caller: Caller, repository: Repository, isGood: boolean): void {
    const key = verdictKey(caller, repository)
    this.#verdicts.delete(key)
    if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.delete(this.#verdicts.keys().next().value ?? '')
    this.#verdicts.set(key, { isGood, until: Date.now() + (isGood ? GOOD_LIFE : DENIED_LIFE) })
  }

  #idOf({ username, password }: PullCredential): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([username, password]))
      .digest('base64url')
  }
}

function verdictKey(caller: Caller, repository: Repository): string {
  return `${caller.id} ${repositoryKey(repository)}`
}
