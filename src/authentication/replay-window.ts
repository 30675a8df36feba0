/**
 * Counters that are remembered of one sender. A request that more than this many later ones overtake is refused, and its sender repeats it with
 * a new counter.
 */
const WINDOW = 1_024
const WORD = 32

/** Accepts each counter of one sender once, in almost any order. 128 bytes. */
export class ReplayWindow {
  readonly #seen = new Uint32Array(WINDOW / WORD)
  #highest = 0

  /** The highest counter that was accepted; 0 if none was. */
  get highest(): number {
    return this.#highest
  }

  /**
   * Records a counter, a positive integer. Returns false for a counter that was recorded before, or that lies too far below the highest one to
   * tell.
   */
  accept(counter: number): boolean {
    if (counter <= this.#highest - WINDOW) return false
    if (counter > this.#highest) this.#advance(counter)
    else if (this.#has(counter)) return false
    this.#set(counter, true)
    return true
  }

  #advance(counter: number): void {
    if (counter - this.#highest >= WINDOW) this.#seen.fill(0)
    else for (let next = this.#highest + 1; next < counter; next++) this.#set(next, false)
    this.#highest = counter
  }

  #has(counter: number): boolean {
    const position = counter % WINDOW
    return ((this.#seen[Math.floor(position / WORD)] ?? 0) & (1 << (position % WORD))) !== 0
  }

  #set(counter: number, isSeen: boolean): void {
    const position = counter % WINDOW
    const word = Math.floor(position / WORD)
    const bit = 1 << (position % WORD)
    this.#seen[word] = isSeen ? (this.#seen[word] ?? 0) | bit : (this.#seen[word] ?? 0) & ~bit
  }
}
