import { second } from '../../time/units.ts'
import type { UpstreamError } from '../upstream.ts'

/** `closed`: in use. `open`: left alone. `half-open`: the next request tries it, the others leave it alone. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** One request's permission to ask. It ends with one of these; after `failed` only a late answer or a `Retry-After` counts. */
export interface Admission {
  /** The address answered, whatever it said. */
  answered(): void
  /**
   * The address failed, or has not answered in time. `wasSent`: the request reached the address, so what it met may be about what was asked, and a slow
   * address may still answer.
   */
  failed(failure: UpstreamError, about: { readonly wasSent: boolean }): void
  /** No caller waited for the answer. */
  abandoned(): void
}

/** Told when an address is given up (with why and for how many milliseconds) and when it is back. */
export type OnBreakerChange = (change: { isOpen: boolean; failure?: UpstreamError; pause?: number }) => void

/** Failures in a row after which an address is left alone. A client may have waited seconds for each. */
const FAILURES = 3
const FIRST_PAUSE = 1 * second
const MAX_PAUSE = 30 * second
/** A pause is at least this many times as long as the failure kept its client waiting, so that waiting stays the exception. */
const PAUSE_PER_WAIT = 2

/**
 * Leaves an address alone that fails time after time, or that asks for it, and tries it again with one request after a pause that doubles up to
 * 30 s. A failure counts unless the address has answered another request meanwhile. Of requests that were sent and fail at the same time, one counts:
 * a slow address fails many at once. Requests without a connection all count.
 */
export class CircuitBreaker {
  readonly #onChange: OnBreakerChange
  readonly #now: () => number
  /** Since the last answer. */
  #failures = 0
  #answers = 0
  #countedFailures = 0
  /** How many pauses there were since it was last in use. */
  #pauses = 0
  #until = 0
  #trying = false
  #failure: UpstreamError | undefined

  /** `now` in milliseconds, monotonic. */
  constructor(onChange: OnBreakerChange = () => {}, now: () => number = () => performance.now()) {
    this.#onChange = onChange
    this.#now = now
  }

  get state(): BreakerState {
    if (this.#pauses === 0) return 'closed'
    return this.#now() < this.#until ? 'open' : 'half-open'
  }

  /** Why it is left alone. */
  get failure(): UpstreamError | undefined {
    return this.#failure
  }

  /** Milliseconds until it is tried again. */
  get remaining(): number {
    return Math.max(0, this.#until - this.#now())
  }

  /** undefined while it is left alone. */
  admit(): Admission | undefined {
    const state = this.state
    if (state === 'open' || (state === 'half-open' && this.#trying)) return undefined
    const isTrial = state === 'half-open'
    if (isTrial) this.#trying = true
    const before = { at: this.#now(), answers: this.#answers, failures: this.#countedFailures, isTrial }
    let verdict: 'none' | 'failed' | 'over' = 'none'
    const end = (next: 'failed' | 'over') => {
      if (isTrial && verdict === 'none') this.#trying = false
      verdict = next
    }
    return {
      answered: () => {
        if (verdict === 'over') return
        end('over')
        this.#answered()
      },
      failed: (failure, { wasSent }) => {
        if (verdict === 'over' || (verdict === 'failed' && failure.retryAfter === undefined)) return
        end('failed')
        this.#failed(failure, { ...before, wasSent })
      },
      abandoned: () => {
        if (verdict === 'none') end('over')
      },
    }
  }

  #answered(): void {
    this.#answers += 1
    // What was asked before says something as well: it answers.
    const wasOpen = this.#pauses > 0
    if (wasOpen && this.#failure?.retryAfter !== undefined && this.state === 'open') return
    this.#failures = 0
    this.#pauses = 0
    this.#failure = undefined
    if (wasOpen) this.#onChange({ isOpen: false })
  }

  #failed(failure: UpstreamError, began: Began): void {
    const isMet = this.#answers > began.answers || (began.wasSent && this.#countedFailures > began.failures)
    if (!isMet) {
      this.#failures += 1
      this.#countedFailures += 1
    }
    const isOpen = this.#pauses > 0
    // Requests that were under way when it was given up make its pause no longer, unless it asks for that.
    const opens = isOpen ? began.isTrial : !isMet && this.#failures >= FAILURES
    if (!opens && failure.retryAfter === undefined) return
    if (opens || !isOpen) this.#pauses += 1
    const first = Math.max(FIRST_PAUSE, PAUSE_PER_WAIT * (this.#now() - began.at))
    const pause = failure.retryAfter ?? Math.min(MAX_PAUSE, first * 2 ** (this.#pauses - 1))
    this.#until = Math.max(this.#until, this.#now() + pause)
    this.#failure = failure
    if (!isOpen) this.#onChange({ isOpen: true, failure, pause })
  }
}

/** What was known when a request was admitted, and what has become of it. */
interface Began {
  readonly at: number
  readonly answers: number
  readonly failures: number
  readonly isTrial: boolean
  readonly wasSent: boolean
}
