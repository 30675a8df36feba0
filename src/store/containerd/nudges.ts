import { setTimeout as sleep } from 'node:timers/promises'

import { minute, second } from '../../time/units.ts'

/** What comes together (the blobs of one image) is looked at together, and a commit's row is there by then. */
const SETTLE = 30
/** A look that was asked for is repeated once: labels are set, and garbage is collected, a moment after the event. */
const ECHO = 1 * second
/** Some changes tell nobody. */
const RECONCILE = 1 * minute
/** Of the time, at most a third is spent listing. */
const REST_FACTOR = 2

/** Says when to list again: soon after a nudge, once more a little later, and every minute. */
export class Nudges {
  #pending = false
  #echo = false
  #wake: (() => void) | undefined

  nudge(): void {
    this.#pending = true
    this.#wake?.()
  }

  /** Waits for the next time to list. `cost` is how long the listing that has just ended took, in milliseconds. */
  async next(cost: number, signal: AbortSignal): Promise<void> {
    const rested = performance.now() + REST_FACTOR * cost
    if (!this.#pending) await this.#wait(this.#echo ? ECHO : RECONCILE, signal)
    this.#echo = this.#pending
    if (this.#pending) await sleep(Math.max(SETTLE, rested - performance.now()), undefined, { signal })
    this.#pending = false
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    try {
      await sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) })
    } catch (error) {
      signal.throwIfAborted()
      if (!woken.signal.aborted) throw error
    } finally {
      this.#wake = undefined
    }
  }
}
