import type { ByteSpan } from '../../oci/range.ts'
import { type Holder, type HolderAnswer, Holders } from './striping/holders.ts'
import type { SentChunk } from './striping/piece.ts'
import { NoHolderLeftError, PIECE_BYTES, PieceWindow } from './striping/piece-window.ts'
import { readSpan } from './striping/read-span.ts'
import { StripePace } from './striping/stripe-pace.ts'

export interface StripedSourceOptions {
  /** Which bytes of the blob. */
  readonly span: ByteSpan
  /** Complete holders, the best first. */
  readonly holders: readonly Holder[]
  /** The first holder's answer from `span.start` to `span.end`, if it is open already. */
  readonly opened?: HolderAnswer
  /** The longest silence of a holder that somebody waits for, in milliseconds. */
  readonly stall: number
  /** Told of each holder that is not asked any more: it was busy, broke off, fell silent (StalledError), sent too little or too much. */
  onLeft(holder: Holder, error: unknown): void
  /** Milliseconds, monotonic. */
  readonly now?: () => number
}

/** Smaller spans come from one holder: they are over before it is known what another one would bring. */
const MIN_STRIPED = 32 * 1024 * 1024
/** Nor is it worth a change for less than this. */
const MIN_REST = 16 * 1024 * 1024
/** The first holder goes on for so long while the second one begins ahead of it. */
const LEAD_BYTES = 2 * PIECE_BYTES

/**
 * A span of a blob from one complete holder, passed through as it comes; from several at the same time, by pieces, while that is
 * faster. What a holder does not give comes from the others.
 */
export class StripedSource {
  /** Can be read once. Throws NoHolderLeftError when every holder was left: the bytes so far are good. */
  readonly body: AsyncIterable<Uint8Array>
  readonly #options: StripedSourceOptions
  readonly #holders: Holders
  readonly #pace: StripePace
  readonly #controller = new AbortController()
  readonly #now: () => number
  #sender: string

  constructor(options: StripedSourceOptions) {
    this.#options = options
    this.#holders = new Holders(options.holders, (holder, error) => options.onLeft(holder, error))
    this.#now = options.now ?? (() => performance.now())
    this.#pace = new StripePace(this.#now)
    this.#sender = options.holders[0]?.name ?? ''
    this.body = this.#body()
  }

  /** Who gave the chunk that came last. */
  sender(): string {
    return this.#sender
  }

  /** Safe to call at any time. */
  cancel(): void {
    this.#controller.abort(new Error('the transfer was cancelled'))
    this.#options.opened?.cancel()
  }

  async *#body(): AsyncGenerator<Uint8Array> {
    let asked = this.#now()
    for await (const { chunk, from } of this.#parts()) {
      this.#pace.waited(this.#now() - asked)
      this.#sender = from
      yield chunk
      asked = this.#now()
    }
  }

  async *#parts(): AsyncGenerator<SentChunk> {
    const { start, end } = this.#options.span
    let { opened } = this.#options
    for (let position = start; position < end;) {
      this.#controller.signal.throwIfAborted()
      const alone = new Solo(position, end)
      for await (const sent of this.#alone(alone, opened)) {
        position += sent.chunk.length
        yield sent
      }
      opened = undefined
      if (alone.window === undefined) continue
      for await (const sent of this.#together(alone.window)) {
        position += sent.chunk.length
        yield sent
      }
    }
  }

  /** One holder's open answer, until its end or until others have begun ahead of it. */
  async *#alone(run: Solo, opened: HolderAnswer | undefined): AsyncGenerator<SentChunk> {
    const [holder] = this.#holders.able
    if (holder === undefined) throw new NoHolderLeftError('no holder is left', { cause: this.#holders.lastError })
    const { stall } = this.#options
    const { signal } = this.#controller
    const span = { start: run.position, end: run.end }
    let finished = false
    try {
      for await (const chunk of readSpan(holder, span, { stall, signal, opened })) {
        const room = run.limit - run.position
        const part = chunk.length > room ? chunk.subarray(0, room) : chunk
        run.position += part.length
        this.#pace.arrived(part.length)
        yield { chunk: part, from: holder.name }
        if (run.position >= run.limit) break
        if (run.window === undefined && this.#wantsMore(run)) this.#begin(run, holder)
      }
      finished = true
    } catch (error) {
      signal.throwIfAborted()
      this.#holders.leave(holder, error)
    } finally {
      if (!finished) run.giveUp()
    }
    run.window?.include()
  }

  async *#together(window: PieceWindow): AsyncGenerator<SentChunk> {
    const onAbort = () => window.close(this.#controller.signal.reason as Error)
    this.#controller.signal.addEventListener('abort', onAbort)
    try {
      if (this.#controller.signal.aborted) onAbort()
      this.#pace.settle()
      for await (const sent of window.chunks()) {
        yield sent
        window.width = this.#pace.decide(this.#holders.able.length)
        if (window.width <= 1) window.drain()
      }
    } finally {
      this.#controller.signal.removeEventListener('abort', onAbort)
      window.close(new Error('the transfer has ended'))
    }
  }

  #wantsMore({ position, end }: Solo): boolean {
    const { span } = this.#options
    const isLarge = span.end - span.start >= MIN_STRIPED && end - position >= MIN_REST
    return this.#pace.decide(isLarge ? this.#holders.able.length : 1) > 1
  }

  #begin(run: Solo, holder: Holder): void {
    run.limit = run.position + LEAD_BYTES
    run.window = new PieceWindow({
      span: { start: run.limit, end: run.end },
      holders: this.#holders,
      width: this.#pace.width,
      except: holder,
      stall: this.#options.stall,
      arrived: (bytes) => this.#pace.arrived(bytes),
      now: this.#now,
    })
  }
}

/** How far one holder alone has come, and where the pieces begin that others fetch ahead of it. */
class Solo {
  position: number
  limit: number
  window: PieceWindow | undefined
  readonly end: number

  constructor(position: number, end: number) {
    this.position = position
    this.limit = end
    this.end = end
  }

  giveUp(): void {
    this.window?.close(new Error('the transfer has ended'))
    this.window = undefined
  }
}
