/** How often the clock looks whether this process is scheduled, in milliseconds. */
const TURN = 250
/** After a longer one this process has missed something. */
const PAUSE = 1_000
/** A turn counts this long at most: a timer that is a little late is normal. */
const MAX_TURN = 400

/**
 * A monotonic clock in milliseconds that nearly stands still while this process is not scheduled: stopped, suspended, or without CPU time. What
 * others sent meanwhile is still unread then, so their silence must not be counted.
 */
export class AttendedClock {
  readonly #timer: NodeJS.Timeout
  readonly #read: () => number
  readonly #onPause: () => void
  #attended: number
  #turnedAt: number

  /** `onPause` is called after each second or more in which the process was not scheduled; `read` is the clock that it follows. */
  constructor({
    onPause = () => {},
    read = () => performance.now(),
  }: { onPause?: () => void; read?: () => number } = {}) {
    this.#onPause = onPause
    this.#read = read
    this.#turnedAt = read()
    this.#attended = this.#turnedAt
    this.#timer = setInterval(() => this.#turn(), TURN).unref()
  }

  /** Usable without its object. */
  readonly now = (): number => this.#attended + Math.min(this.#read() - this.#turnedAt, MAX_TURN)

  stop(): void {
    clearInterval(this.#timer)
  }

  #turn(): void {
    this.#attended = this.now()
    const now = this.#read()
    const elapsed = now - this.#turnedAt
    this.#turnedAt = now
    if (elapsed >= PAUSE) this.#onPause()
  }
}
