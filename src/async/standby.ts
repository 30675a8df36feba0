/** Work that begins after a delay, or as soon as its result is needed. It runs once at most. */
export class Standby<T> {
  readonly #work: (signal: AbortSignal) => Promise<T>
  readonly #controller = new AbortController()
  readonly #signal: AbortSignal
  readonly #timer: NodeJS.Timeout
  #running: Promise<T> | undefined

  /** `delay` in milliseconds. The work's signal is aborted with the caller's, and by {@link cancel}. */
  constructor(work: (signal: AbortSignal) => Promise<T>, options: { delay: number; signal: AbortSignal }) {
    this.#work = work
    this.#signal = AbortSignal.any([options.signal, this.#controller.signal])
    this.#timer = setTimeout(() => {
      // A failure is reported to the caller that needs the result.
      this.result().catch(() => {})
    }, options.delay)
  }

  /** Throws what the work throws. */
  result(): Promise<T> {
    clearTimeout(this.#timer)
    this.#running ??= this.#work(this.#signal)
    return this.#running
  }

  /** No caller needs the result. */
  cancel(): void {
    clearTimeout(this.#timer)
    this.#controller.abort()
    this.#running?.catch(() => {})
  }
}
