/** No permit is free and the queue has no room. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError'
}

/** Limits how much work runs at the same time. The rest waits, first in, first out. */
export class Semaphore {
  readonly #maxWaiting: number
  /** Each grants its permit, in the order of arrival. */
  readonly #waiting = new Set<() => void>()
  #free: number

  constructor(permits: number, { maxWaiting = Infinity }: { readonly maxWaiting?: number } = {}) {
    this.#free = permits
    this.#maxWaiting = maxWaiting
  }

  /**
   * Runs `work` with a permit, and returns the permit when it ends. Throws the signal's reason while it waits, QueueFullError if it
   * cannot wait, and what `work` throws.
   */
  async run<T>(work: () => Promise<T>, { signal }: { signal: AbortSignal }): Promise<T> {
    await this.#acquire(signal)
    try {
      // A permit may have been granted just before the abort.
      signal.throwIfAborted()
      return await work()
    } finally {
      this.#release()
    }
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    if (this.#waiting.size >= this.#maxWaiting)
      throw new QueueFullError(`${this.#waiting.size} others wait for a permit already`)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = () => {
      this.#waiting.delete(grant)
      reject(signal.reason as Error)
    }
    const grant = () => {
      this.#waiting.delete(grant)
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    this.#waiting.add(grant)
    signal.addEventListener('abort', onAbort, { once: true })
    await promise
  }

  /** Passes the permit to the first waiter without freeing it in between: a new caller cannot overtake the queue. */
  #release(): void {
    const [grant] = this.#waiting
    if (grant === undefined) this.#free += 1
    else grant()
  }
}
