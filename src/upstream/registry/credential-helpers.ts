import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { Semaphore } from '../../async/semaphore.ts'
import { type Log, errorText } from '../../telemetry/log.ts'
import { abortable } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import { HelperError, askHelper } from './ask-helper.ts'
import type { Credential } from './credential.ts'

export interface CredentialHelpersOptions {
  readonly log: Log
  /** The environment of the helpers; this process's own if absent. */
  readonly env?: NodeJS.ProcessEnv
  /** How long a helper may take, and how long a pull waits for it before it goes on without; in milliseconds. */
  readonly timeout?: number
  readonly patience?: number
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

interface Call {
  readonly answer: Promise<Credential | undefined>
  readonly controller: AbortController
  waiters: number
}

interface Kept {
  readonly credential: Credential | undefined
  readonly askedAt: number
  readonly until: number
  /** Why there was no answer, so that it is said once. */
  readonly failure: string | undefined
}

const TIMEOUT = 10 * second
/** A pull has 9 s up to its first header, and other things to do in them. */
const PATIENCE = 4 * second
/** The shortest life of what helpers give out is an hour (cloud registries); what they do not have yet may come by a login. */
const KEEP = { found: 5 * minute, none: 1 * minute, failure: 30 * second }
/** A credential that is refused again and again must not cost a process for each request. */
const MIN_AGE = 10 * second
const MAX_RUNNING = 4
const MAX_WAITING = 200
const MAX_KEPT = 1000

/** Credential helpers, asked once for many, a few at a time. What a helper cannot tell counts as not there. */
export class CredentialHelpers {
  readonly #options: CredentialHelpersOptions
  readonly #now: () => number
  readonly #calls = new Map<string, Call>()
  readonly #kept = new LRUCache<string, Kept>(atMost(MAX_KEPT))
  readonly #processes = new Semaphore(MAX_RUNNING, { maxWaiting: MAX_WAITING })
  readonly #stopping = new AbortController()
  /** What was asked before {@link forget} is not kept. */
  #generation = 0

  constructor(options: CredentialHelpersOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** undefined if the helper has none or gives no answer in time. Rejects with the signal's reason alone. */
  async get(helper: string, server: string, options: { signal: AbortSignal }): Promise<Credential | undefined> {
    options.signal.throwIfAborted()
    const key = `${helper} ${server}`
    const kept = this.#kept.get(key)
    if (kept !== undefined && kept.until > this.#now()) return kept.credential
    const call = this.#calls.get(key) ?? this.#call(key, helper, server)
    call.waiters += 1
    try {
      const patience = AbortSignal.timeout(this.#options.patience ?? PATIENCE)
      return await abortable(call.answer, AbortSignal.any([options.signal, patience]))
    } catch {
      options.signal.throwIfAborted()
      return undefined
    } finally {
      call.waiters -= 1
      if (call.waiters === 0 && options.signal.aborted) call.controller.abort(options.signal.reason)
    }
  }

  /** A registry did not accept it: the helper may have a new one. */
  refused(credential: Credential): void {
    for (const [key, kept] of [...this.#kept.entries()]) {
      if (kept.credential === credential && kept.askedAt + MIN_AGE <= this.#now()) this.#kept.delete(key)
    }
  }

  /** Asks everything anew from now on. */
  forget(): void {
    this.#generation += 1
    this.#kept.clear()
    this.#calls.clear()
  }

  /** Ends the helpers that run, and starts no more. */
  stop(): void {
    this.#stopping.abort(new Error('the daemon is stopping'))
  }

  #call(key: string, helper: string, server: string): Call {
    const controller = new AbortController()
    const answer = this.#ask(key, helper, server, controller)
    // Whoever waited may have gone.
    answer.catch(() => {})
    const call = { answer, controller, waiters: 0 }
    this.#calls.set(key, call)
    const remove = () => void (this.#calls.get(key) === call && this.#calls.delete(key))
    answer.then(remove, remove)
    // Nobody joins a helper that is being ended.
    controller.signal.addEventListener('abort', remove, { once: true })
    return call
  }

  async #ask(
    key: string,
    helper: string,
    server: string,
    controller: AbortController,
  ): Promise<Credential | undefined> {
    const generation = this.#generation
    const { log, env = process.env, timeout = TIMEOUT } = this.#options
    const signal = AbortSignal.any([controller.signal, this.#stopping.signal])
    const askedAt = this.#now()
    let credential: Credential | undefined
    let failure: string | undefined
    try {
      credential = await this.#processes.run(() => askInTime(helper, server, { env, signal, timeout }), { signal })
    } catch (error) {
      if (signal.aborted) throw error
      failure = errorText(error)
    }
    if (failure !== undefined && this.#kept.get(key)?.failure !== failure) {
      log.warn(
        { helper, server, reason: failure },
        'a credential helper gave no answer: pulls go on without credentials',
      )
    }
    if (generation === this.#generation) this.#keep(key, { credential, askedAt, failure })
    return credential
  }

  #keep(key: string, answer: Omit<Kept, 'until'>): void {
    const { credential, failure } = answer
    const life = failure !== undefined ? KEEP.failure : credential === undefined ? KEEP.none : KEEP.found
    this.#kept.set(key, { ...answer, until: this.#now() + life })
  }
}

/** Ends the helper when its time is over. */
async function askInTime(
  helper: string,
  server: string,
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal; timeout: number },
): Promise<Credential | undefined> {
  const late = AbortSignal.timeout(options.timeout)
  try {
    const signal = AbortSignal.any([options.signal, late])
    return await abortable(askHelper(helper, server, { env: options.env, signal }), signal)
  } catch (error) {
    options.signal.throwIfAborted()
    if (!late.aborted) throw error
    throw new HelperError(`docker-credential-${helper} gave no answer in ${options.timeout} ms`)
  }
}
