/** A silence is measured in so many turns of the event loop. */
const TURNS = 8

/**
 * Calls back each time when nothing was heard for `ms` milliseconds. Turns of a timer are counted, not time: when this process was not scheduled (stopped,
 * suspended, out of CPU time), what others sent meanwhile is read before they are blamed.
 */
export class Silence {
  readonly #timer: NodeJS.Timeout
  #turns = 0

  constructor(ms: number, onSilence: () => void) {
    this.#timer = setInterval(() => {
      this.#turns += 1
      if (this.#turns < TURNS) return
      this.#turns = 0
      onSilence()
    }, ms / TURNS)
  }

  heard(): void {
    this.#turns = 0
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
