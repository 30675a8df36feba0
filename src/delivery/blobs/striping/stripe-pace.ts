import { second } from '../../../time/units.ts'

/** Long enough that TCP's ups and downs even out, short enough that most of a large blob is still to come. */
const MEASURE = 0.7 * second
/** After a change the new state needs a moment before it is worth measuring. */
const SETTLE = 0.3 * second
/** One holder more must bring at least so much, or it only takes from others what it does not give here. */
const WORTH_IT = 1.15
/** Whose client takes the rest of the time does not wait for its holders: more of them bring nothing. */
const MIN_WAITING = 0.5
const FIRST_PAUSE = 10 * second

/** Decides how many holders give at the same time: one more is tried now and then, and kept if the total rises. */
export class StripePace {
  /** How many give at the moment. */
  width = 1
  readonly #now: () => number
  #since: number | undefined
  #bytes = 0
  #waited = 0
  /** Bytes a millisecond with one holder fewer, while one more is on trial. */
  #before: number | undefined
  #tryAgainAt = 0
  #pause = FIRST_PAUSE

  /** `now` is in milliseconds, monotonic. */
  constructor(now: () => number) {
    this.#now = now
  }

  arrived(bytes: number): void {
    this.#since ??= this.#now()
    this.#bytes += bytes
  }

  /** The client waited for so many milliseconds. */
  waited(ms: number): void {
    this.#waited += ms
  }

  /** What was decided is in effect from now on. */
  settle(): void {
    this.#restart(this.#now() + SETTLE)
  }

  /** How many should give from now on, at most `max`. */
  decide(max: number): number {
    const now = this.#now()
    if (this.width > max) this.#change(max, undefined)
    else if (this.#since !== undefined && now < this.#since) this.#restart(this.#since)
    else if (this.#since !== undefined && now - this.#since >= MEASURE) this.#judge(now, now - this.#since, max)
    return this.width
  }

  #judge(now: number, elapsed: number, max: number): void {
    const rate = this.#bytes / elapsed
    const before = this.#before
    if (before !== undefined && rate < before * WORTH_IT) {
      this.#tryAgainAt = now + this.#pause
      this.#pause *= 2
      return this.#change(this.width - 1, undefined)
    }
    const isStarving = this.#waited / elapsed >= MIN_WAITING
    if (isStarving && this.width < max && now >= this.#tryAgainAt) return this.#change(this.width + 1, rate)
    this.#before = undefined
    this.#restart(now)
  }

  #change(width: number, before: number | undefined): void {
    this.width = width
    this.#before = before
    this.settle()
  }

  #restart(since: number): void {
    this.#since = since
    this.#bytes = 0
    this.#waited = 0
  }
}
