import type { ByteSpan } from '../../../oci/range.ts'
import type { Holder, Holders } from './holders.ts'
import { type Attempt, Piece, type SentChunk } from './piece.ts'
import { readSpan } from './read-span.ts'

/** Large enough that a request costs little beside it, small enough that a fast holder does not wait long for a slow one. */
export const PIECE_BYTES = 2 * 1024 * 1024
/** Asked for and not yet handed out: 16 MiB a transfer, in up to twice as much memory, since a buffer that is half full is kept as it is. */
const MAX_PIECES = 8
/** A first byte may take so long before a second holder is asked for the piece that everybody waits for. */
const HEDGE_AFTER = 200
/** Nor is it asked for a gain of less than this, in milliseconds. */
const HEDGE_GAIN = 50
const HEDGE_TICK = 50

export interface PieceWindowOptions {
  readonly span: ByteSpan
  readonly holders: Holders
  /** How many holders give at the same time. */
  readonly width: number
  /** One that is still busy with what lies before the window. */
  readonly except?: Holder
  readonly stall: number
  /** Told of every byte that is new. */
  readonly arrived: (bytes: number) => void
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

/** Every holder was left. */
export class NoHolderLeftError extends Error {
  override readonly name = 'NoHolderLeftError'
}

/** A span from several holders at the same time, in order, with a bounded number of pieces ahead of the reader. */
export class PieceWindow {
  width: number
  readonly #options: PieceWindowOptions
  readonly #pieces: Piece[] = []
  readonly #working = new Map<Holder, Attempt>()
  /** Bytes a millisecond, of each one's last piece. */
  readonly #rates = new Map<Holder, number>()
  #except: Holder | undefined
  #next: number
  #draining = false
  #closed: Error | undefined
  #wake: () => void = () => {}

  constructor(options: PieceWindowOptions) {
    this.#options = options
    this.#except = options.except
    this.#next = options.span.start
    this.width = options.width
    this.#fill()
  }

  /** The first byte that nobody was asked for. */
  get next(): number {
    return this.#next
  }

  /** The one that was busy has time now. */
  include(): void {
    this.#except = undefined
    this.#fill()
  }

  /** Asks for nothing more; what was asked for still comes. */
  drain(): void {
    this.#draining = true
  }

  close(reason: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    for (const { controller } of this.#working.values()) controller.abort(reason)
    this.#wake()
  }

  /** The bytes, until the end or until the window has drained. Throws NoHolderLeftError. */
  async *chunks(): AsyncGenerator<SentChunk> {
    for (let head = this.#pieces[0]; head !== undefined; head = this.#pieces[0]) {
      if (this.#closed !== undefined) throw this.#closed
      const sent = head.shift()
      if (sent !== undefined) yield sent
      else if (head.isWhole) {
        this.#pieces.shift()
        this.#fill()
      } else {
        this.#fill()
        this.#hedge(head)
        if (this.#working.size === 0)
          throw new NoHolderLeftError('no holder is left', { cause: this.#options.holders.lastError })
        await this.#change()
      }
    }
  }

  /** Gives work to everybody who has time. */
  #fill(): void {
    if (this.#closed !== undefined) return
    for (const holder of this.#options.holders.able.slice(0, this.width)) {
      if (holder === this.#except || this.#working.has(holder)) continue
      const piece = this.#abandoned() ?? this.#ask()
      if (piece === undefined) return
      void this.#work(holder, piece)
    }
  }

  #abandoned(): Piece | undefined {
    return this.#pieces.find((piece) => !piece.isWhole && piece.attempts.size === 0)
  }

  #ask(): Piece | undefined {
    const { end } = this.#options.span
    if (this.#draining || this.#next >= end) return undefined
    if (this.#pieces.length >= MAX_PIECES) return undefined
    const piece = new Piece({ start: this.#next, end: Math.min(end, this.#next + PIECE_BYTES) })
    this.#next = piece.end
    this.#pieces.push(piece)
    return piece
  }

  /** The reader waits for this piece: somebody who has nothing to do and would be sooner fetches its rest as well. */
  #hedge(head: Piece): void {
    const [current, ...others] = head.attempts
    if (current === undefined || others.length > 0) return
    const idle = this.#options.holders.able.find((holder) => holder !== this.#except && !this.#working.has(holder))
    if (idle === undefined) return
    const age = this.#options.now() - current.began
    if (age < HEDGE_AFTER) return
    const rest = head.end - head.received
    const here = (rest * age) / current.bytes
    const there = rest / (this.#rates.get(idle) ?? Infinity)
    if (here > 2 * there + HEDGE_GAIN) void this.#work(idle, head)
  }

  async #work(holder: Holder, piece: Piece): Promise<void> {
    const { holders, stall, now, arrived } = this.#options
    const attempt: Attempt = { holder, controller: new AbortController(), began: now(), bytes: 0 }
    const { signal } = attempt.controller
    this.#working.set(holder, attempt)
    piece.attempts.add(attempt)
    let position = piece.received
    try {
      for await (const chunk of readSpan(holder, { start: position, end: piece.end }, { stall, signal })) {
        arrived(piece.add(position, chunk, holder.name))
        position += chunk.length
        attempt.bytes += chunk.length
        if (piece.isWhole) this.#overtake(piece, attempt)
        this.#wake()
      }
    } catch (error) {
      if (!signal.aborted) holders.leave(holder, error)
    } finally {
      this.#rates.set(holder, attempt.bytes / Math.max(1, now() - attempt.began))
      this.#working.delete(holder)
      piece.attempts.delete(attempt)
      this.#fill()
      this.#wake()
    }
  }

  #overtake(piece: Piece, winner: Attempt): void {
    for (const loser of piece.attempts) {
      if (loser === winner) continue
      this.#options.holders.overtook(loser.holder)
      loser.controller.abort(new Error(`${winner.holder.name} was faster`))
    }
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    const timer = setTimeout(resolve, HEDGE_TICK)
    await promise
    clearTimeout(timer)
  }
}
