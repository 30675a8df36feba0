/** Which peers failed lately. Bounded by `limit`, oldest forgotten first. */
export class PeerHealth {
  readonly #failedAt = new Map<string, number>()
  readonly #memory: number
  readonly #limit: number

  /** `memory` is in milliseconds. */
  constructor(memory: number, limit = 10_000) {
    this.#memory = memory
    this.#limit = limit
  }

  failed(id: string): void {
    this.#failedAt.delete(id)
    this.#failedAt.set(id, performance.now())
    if (this.#failedAt.size <= this.#limit) return
    for (const oldest of this.#failedAt.keys()) {
      this.#failedAt.delete(oldest)
      return
    }
  }

  recovered(id: string): void {
    this.#failedAt.delete(id)
  }

  isFailing(id: string): boolean {
    const at = this.#failedAt.get(id)
    if (at === undefined) return false
    if (performance.now() - at < this.#memory) return true
    this.#failedAt.delete(id)
    return false
  }
}
