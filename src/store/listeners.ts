import type { Log } from '../telemetry/log.ts'
import type { StoreChange } from './content-store.ts'

/** Those who follow a store. One that throws is logged and keeps nobody else from hearing. */
export class Listeners {
  readonly #listeners = new Set<(change: StoreChange) => void>()
  readonly #log: Pick<Log, 'warn'>

  constructor(log: Pick<Log, 'warn'>) {
    this.#log = log
  }

  add(listener: (change: StoreChange) => void): () => void {
    // A wrapper, so that the same function may be added twice and each end ends its own.
    const own = (change: StoreChange) => listener(change)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  emit(change: StoreChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (err) {
        this.#log.warn({ err }, 'a listener of the content store failed')
      }
    }
  }
}
