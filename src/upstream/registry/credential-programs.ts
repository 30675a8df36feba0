import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { QueueFullError } from '../../async/semaphore.ts'
import { type Log, errorText } from '../../telemetry/log.ts'
import { PacedWarnings } from '../../telemetry/paced-warnings.ts'
import { abortable } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { CredentialTroubles } from './credential-troubles.ts'
import { QuestionTurns } from './question-turns.ts'
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
  /** Questions of one group, a program and a registry, wait for each other: the answer to one may be that to all. */
  readonly group: string
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
  readonly progress: Progress
  waiters: number
}

interface Progress {
  /** False while it waits for its turn. */
  isRunning: boolean
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
const MAX_KEPT = 1000

/** Runs programs that give credentials: one process for callers with the same question, a few processes at a time. A program that fails counts as one without a credential. */
export class CredentialPrograms<T> {
  readonly #options: CredentialProgramsOptions
  readonly #now: () => number
  readonly #calls = new Map<string, Call<T>>()
  readonly #kept = new LRUCache<string, Kept<T>>(atMost(MAX_KEPT))
  readonly #turns = new QuestionTurns()
  readonly #warnings: PacedWarnings<string>
  readonly #stopping = new AbortController()
  /** Counts calls of {@link forget}: answers to earlier questions are not kept. */
  #generation = 0

  constructor(options: CredentialProgramsOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#warnings = new PacedWarnings(options.log)
  }

  /** undefined if the program has nothing or gives no answer in time. Rejects with the signal's reason alone. */
  async get(question: Question<T>, options: { signal: AbortSignal }): Promise<T | undefined> {
    options.signal.throwIfAborted()
    const kept = this.#find(question)
    if (kept !== undefined) return kept.value
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
      // A program that runs goes on after the patience of those who wait: its answer is kept for the next pull.
      if (call.waiters === 0 && (options.signal.aborted || !call.progress.isRunning))
        call.controller.abort(options.signal.reason)
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
    this.#turns.forget()
  }

  /** Ends the programs that run, and starts no more. */
  stop(): void {
    this.#stopping.abort(new Error('the daemon is stopping'))
  }

  #find({ key, alsoUnder = [] }: Question<T>): Kept<T> | undefined {
    for (const under of [key, ...alsoUnder]) {
      const kept = this.#kept.get(under)
      if (kept !== undefined && kept.until > this.#now()) return kept
    }
    return undefined
  }

  #call(question: Question<T>): Call<T> {
    const { key } = question
    const controller = new AbortController()
    const progress = { isRunning: false }
    const answer = this.#ask(question, progress, AbortSignal.any([controller.signal, this.#stopping.signal]))
    // Whoever waited may have gone.
    answer.catch(() => {})
    const call = { answer, controller, progress, waiters: 0 }
    this.#calls.set(key, call)
    const remove = () => void (this.#calls.get(key) === call && this.#calls.delete(key))
    answer.then(remove, remove)
    // Nobody joins a program that is being ended.
    controller.signal.addEventListener('abort', remove, { once: true })
    return call
  }

  async #ask(question: Question<T>, progress: Progress, signal: AbortSignal): Promise<T | undefined> {
    const generation = this.#generation
    const ask = async () => {
      progress.isRunning = true
      const { kept, under } = await this.#run(question, signal)
      if (generation === this.#generation) this.#kept.set(under, kept)
      return { result: kept, isSingle: kept.failure === undefined && under === question.key }
    }
    try {
      const { value } = await this.#turns.run(question.group, { find: () => this.#find(question), ask }, { signal })
      return value
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error
      // Says nothing about the program: neither kept nor a trouble.
      this.#warnings.warn(
        question.program,
        `${question.kind} is not asked, as too many questions wait: pulls go on without credentials`,
        () => question.about,
      )
      return undefined
    }
  }

  /** What the program answers, or that it gives no answer, and the key to keep it under. Throws the signal's reason alone. */
  async #run(question: Question<T>, signal: AbortSignal): Promise<{ kept: Kept<T>; under: string }> {
    const { log, troubles, env = process.env, timeout = TIMEOUT } = this.#options
    const { key, program } = question
    const askedAt = this.#now()
    try {
      const answer = await askInTime(question, { env, signal, timeout })
      troubles?.clear(`program ${program}`)
      const { value, life = value === undefined ? KEEP.none : KEEP.found, keepUnder = key } = answer
      return { kept: { value, askedAt, until: this.#now() + life, failure: undefined }, under: keepUnder }
    } catch (error) {
      if (signal.aborted) throw error
      const failure = errorText(error)
      if (this.#kept.get(key)?.failure !== failure)
        log.warn(
          { ...question.about, reason: failure },
          `${question.kind} gave no answer: pulls go on without credentials`,
        )
      // By program alone: clients name images and registries, and could fill the list.
      troubles?.note(`program ${program}`, { type: 'program', program, reason: failure })
      return { kept: { value: undefined, askedAt, until: this.#now() + KEEP.failure, failure }, under: key }
    }
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
