import type { IndexKey } from '../overlay/overlay.ts'

/** Claims that proved wrong a moment ago. Bounded by `limit`, oldest forgotten first. */
export class Disproofs {
  readonly #until = new Map<string, number>()
  readonly #memory: number
  readonly #limit: number

  /** `memory` is in milliseconds. */
  constructor(memory: number, limit = 10_000) {
    this.#memory = memory
    this.#limit = limit
  }

  add(key: IndexKey, peerId: string): void {
    const name = nameOf(key, peerId)
    this.#until.delete(name)
    this.#until.set(name, performance.now() + this.#memory)
    for (const [oldest, until] of this.#until) {
      if (until > performance.now() && this.#until.size <= this.#limit) return
      this.#until.delete(oldest)
    }
  }

  has(key: IndexKey, peerId: string): boolean {
    if (this.#until.size === 0) return false
    const until = this.#until.get(nameOf(key, peerId))
    return until !== undefined && until > performance.now()
  }

  /** The peer itself says again that it holds these keys. */
  forget(keys: readonly IndexKey[], peerId: string): void {
    if (this.#until.size === 0) return
    for (const key of keys) this.#until.delete(nameOf(key, peerId))
  }
}

function nameOf(key: IndexKey, peerId: string): string {
  return `${key}${peerId}`
}
