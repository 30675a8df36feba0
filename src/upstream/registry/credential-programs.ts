import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { Semaphore } from '../../async/semaphore.ts'
import { type Log, errorText } from '../../telemetry/log.ts'
import { abortable } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { CredentialTroubles } from './credential-troubles.ts'
import { CredentialProgramError } from './run-program.ts'

export interface CredentialProgramsOptions {
  readonly log: Log
  /** Told of programs that give no answer, and of those that do again. */
  readonly troubles?: Pick<CredentialTroubles, 'note' | 'clear'> | undefined
  /** The environment of the programs; this process's own if absent. */
  readonly env?: NodeJS.ProcessEnv
  /** How long a program may take, and how long a pull waits for it before it goes on without; in milliseconds. */
  readonly timeout?: number
  readonly patience?: number
  /** A monotonic clock in milliseconds; `performance.now()` if absent. */
  readonly now?: () => number
}

/** One question to one program. */
export interface Question<T> {
  /** Callers with the same key wait for the same process. */
  readonly key: string
  /** Further keys under which its answer may have been kept for others. */
  readonly alsoUnder?: readonly string[]
  /** The program in errors, and in the log: `a credential helper`. */
  readonly program: string
  readonly kind: string
  /** Fields for the log. */
  readonly about: object
  /** Throws CredentialProgramError, or the signal's reason. */
  ask(options: { env: NodeJS.ProcessEnv; signal: AbortSignal }): Promise<Answer<T>>
}

export interface Answer<T> {
  /** undefined: the program has nothing. */
  readonly value: T | undefined
  /** How long to keep it, in milliseconds; a default if absent. */
  readonly life?: number | undefined
  /** Instead of the key of the question. */
  readonly keepUnder?: string
}

interface Call<T> {
  readonly answer: Promise<T | undefined>
  readonly controller: AbortController
  waiters: number
}

interface Kept<T> {
  readonly value: T | undefined
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

/** Programs that give credentials, asked once for many, a few at a time. What a program cannot tell counts as not there. */
export class CredentialPrograms<T> {
  readonly #options: CredentialProgramsOptions
  readonly #now: () => number
  readonly #calls = new Map<string, Call<T>>()
  readonly #kept = new LRUCache<string, Kept<T>>(atMost(MAX_KEPT))
  readonly #processes = new Semaphore(MAX_RUNNING, { maxWaiting: MAX_WAITING })
  readonly #stopping = new AbortController()
  /** What was asked before {@link forget} is not kept. */
  #generation = 0

  constructor(options: CredentialProgramsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** undefined if the program has nothing or gives no answer in time. Rejects with the signal's reason alone. */
  async get(question: Question<T>, options: { signal: AbortSignal }): Promise<T | undefined> {
    options.signal.throwIfAborted()
    for (const key of [question.key, ...(question.alsoUnder ?? [])]) {
      const kept = this.#kept.get(key)
      if (kept !== undefined && kept.until > this.#now()) return kept.value
    }
    const call = this.#calls.get(question.key) ?? this.#call(question)
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

  /** A registry did not accept a credential: the program that gave it may have a new one. */
  refused(holds: (value: T) => boolean): void {
    for (const [key, { value, askedAt }] of [...this.#kept.entries()])
      if (value !== undefined && holds(value) && askedAt + MIN_AGE <= this.#now()) this.#kept.delete(key)
  }

  /** Asks everything anew from now on. */
  forget(): void {
    this.#generation += 1
    this.#kept.clear()
    this.#calls.clear()
  }

  /** Ends the programs that run, and starts no more. */
  stop(): void {
    this.#stopping.abort(new Error('the daemon is stopping'))
  }

  #call(question: Question<T>): Call<T> {
    const { key } = question
    const controller = new AbortController()
    const answer = this.#ask(question, controller)
    // Whoever waited may have gone.
    answer.catch(() => {})
    const call = { answer, controller, waiters: 0 }
    this.#calls.set(key, call)
    const remove = () => void (this.#calls.get(key) === call && this.#calls.delete(key))
    answer.then(remove, remove)
    // Nobody joins a program that is being ended.
    controller.signal.addEventListener('abort', remove, { once: true })
    return call
  }

  async #ask(question: Question<T>, controller: AbortController): Promise<T | undefined> {
    const generation = this.#generation
    const { log, troubles, env = process.env, timeout = TIMEOUT } = this.#options
    const signal = AbortSignal.any([controller.signal, this.#stopping.signal])
    const askedAt = this.#now()
    let answer: Answer<T> = { value: undefined }
    let failure: string | undefined
    try {
      answer = await this.#processes.run(() => askInTime(question, { env, signal, timeout }), { signal })
    } catch (error) {
      if (signal.aborted) throw error
      failure = errorText(error)
    }
    if (failure !== undefined && this.#kept.get(question.key)?.failure !== failure)
      log.warn(
        { ...question.about, reason: failure },
        `${question.kind} gave no answer: pulls go on without credentials`,
      )
    const { program, key } = question
    if (failure === undefined) troubles?.clear(`program ${key}`)
    else troubles?.note(`program ${key}`, { type: 'program', program, reason: failure })
    const { value, life = value === undefined ? KEEP.none : KEEP.found, keepUnder = question.key } = answer
    const until = this.#now() + (failure === undefined ? life : KEEP.failure)
    if (generation === this.#generation) this.#kept.set(keepUnder, { value, askedAt, until, failure })
    return value
  }
}

/** Ends the program when its time is over. */
async function askInTime<T>(
  question: Question<T>,
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal; timeout: number },
): Promise<Answer<T>> {
  const late = AbortSignal.timeout(options.timeout)
  try {
    const signal = AbortSignal.any([options.signal, late])
    return await abortable(question.ask({ env: options.env, signal }), signal)
  } catch (error) {
    options.signal.throwIfAborted()
    if (!late.aborted) throw error
    throw new CredentialProgramError(`${question.program} gave no answer in ${options.timeout} ms`)
  }
}
