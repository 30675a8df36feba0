/** A node that holds a whole blob and gives any span of it. */
export interface Holder {
  /** The peer's address. */
  readonly name: string
  /** Opens the bytes from `start` to `end` (exclusive). Rejects if it does not give them: busy, gone, not what it said. */
  open(start: number, end: number, options: { signal: AbortSignal }): Promise<HolderAnswer>
}

export interface HolderAnswer {
  readonly body: AsyncIterable<Uint8Array>
  /** Ends the body early; safe to call at any time, more than once. */
  cancel(): void
}

/** Whoever was overtaken so often gets no more pieces while somebody else is there. */
const MAX_OVERTAKEN = 3

/** The holders of one transfer: those that are still good for something, the best first. */
export class Holders {
  /** How often others were faster with what each was asked for. */
  readonly #overtaken: Map<Holder, number>
  readonly #onLeft: (holder: Holder, error: unknown) => void
  lastError: unknown

  constructor(holders: readonly Holder[], onLeft: (holder: Holder, error: unknown) => void) {
    this.#overtaken = new Map(holders.map((holder) => [holder, 0]))
    this.#onLeft = onLeft
  }

  /** Those that are worth a piece; at least one while any is left. */
  get able(): readonly Holder[] {
    const left = [...this.#overtaken].sort(([, a], [, b]) => a - b)
    const able = left.filter(([, overtaken]) => overtaken < MAX_OVERTAKEN)
    return (able.length > 0 ? able : left.slice(0, 1)).map(([holder]) => holder)
  }

  overtook(holder: Holder): void {
    const count = this.#overtaken.get(holder)
    if (count !== undefined) this.#overtaken.set(holder, count + 1)
  }

  leave(holder: Holder, error: unknown): void {
    if (!this.#overtaken.delete(holder)) return
    this.lastError = error
    this.#onLeft(holder, error)
  }
}
