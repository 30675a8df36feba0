import { Silence } from '../../time/silence.ts'
import { type TransferOrigin, TransferRecord } from './transfer-record.ts'

/** An open answer of one source. */
export interface SourceStream {
  readonly kind: 'peer' | 'upstream'
  /** The peer's address or the registry. */
  readonly name: string
  /** The longest silence before it counts as stalled, in milliseconds. */
  readonly stall: number
  /** Of the whole blob, in bytes. */
  readonly size: number
  readonly body: AsyncIterable<Uint8Array>
  /** Who gave the chunk that came last, where several give in turn: a peer's address. */
  sender?(): string
  cancel(): void
}

export interface ResumingStreamOptions {
  readonly first: SourceStream
  readonly start: number
  readonly signal: AbortSignal
  /** Finds a source that goes on at `position`; undefined if none is left. */
  reopen(position: number, broken: BrokenSource): Promise<SourceStream | undefined>
  /** Told of each chunk before it is handed out. `position` is the first byte after it, `peer` the address of who sent it. */
  onChunk?(bytes: number, position: number, peer: string | undefined): void
  /** Told once when nothing more is read: whether the blob's last byte was handed out. */
  onEnd?(reachedEnd: boolean): void
}

export interface BrokenSource {
  readonly source: SourceStream
  readonly error: unknown
  /** Whether it gave at least one byte. */
  readonly progressed: boolean
}

/** A source sent nothing for its stall time. */
export class StalledError extends Error {
  override readonly name = 'StalledError'
}

/** A source was left because there is a better one; it did nothing wrong. */
export class RecalledError extends Error {
  override readonly name = 'RecalledError'
}

/** All sources broke off before the end. The bytes handed out so far are right as far as anybody knows. */
export class BrokenTransferError extends Error {
  override readonly name = 'BrokenTransferError'
}

/** A blob's bytes from a changing source: one that breaks or stalls is left, and the next goes on at the same byte. */
export class ResumingStream {
  readonly size: number
  readonly record = new TransferRecord()
  readonly #options: ResumingStreamOptions
  #current: SourceStream
  #recalled: SourceStream | undefined
  #ended = false

  constructor(options: ResumingStreamOptions) {
    this.#options = options
    this.#current = options.first
    this.size = options.first.size
  }

  /** Where the next bytes come from, as far as that is known. */
  get origin(): TransferOrigin {
    const { kind, name } = this.#current
    return kind === 'peer' ? { source: kind, peer: this.#current.sender?.() ?? name } : { source: kind }
  }

  /** The bytes up to `end` (exclusive). Can be read once. Throws BrokenTransferError. */
  async *chunks(end: number): AsyncGenerator<Uint8Array> {
    let position = this.#options.start
    try {
      for await (const chunk of this.#bytes(position, end)) {
        position += chunk.length
        yield chunk
      }
    } finally {
      this.#end(position === this.size)
    }
  }

  /** Leaves the present source for a better one, at the byte reached. */
  recall(): void {
    if (this.#ended) return
    this.#recalled = this.#current
    this.#current.cancel()
  }

  /** Ends the transfer early. */
  cancel(): void {
    this.#current.cancel()
    this.#end(false)
  }

  #end(reachedEnd: boolean): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.onEnd?.(reachedEnd)
  }

  async *#bytes(start: number, end: number): AsyncGenerator<Uint8Array> {
    let position = start
    while (position < end) {
      const source = this.#current
      const before = position
      let failure: unknown
      try {
        for await (const chunk of guarded(source)) {
          const part = chunk.length > end - position ? chunk.subarray(0, end - position) : chunk
          position += part.length
          const peer = source.kind === 'peer' ? (source.sender?.() ?? source.name) : undefined
          this.record.add(source.kind, peer, part.length)
          this.#options.onChunk?.(part.length, position, peer)
          yield part
          if (position >= end) break
        }
      } catch (error) {
        this.#options.signal.throwIfAborted()
        failure = error
      } finally {
        source.cancel()
      }
      if (position >= end) return
      const error =
        this.#recalled === source
          ? new RecalledError('there is a better source')
          : (failure ?? new Error('it ended early'))
      await this.#reopen(position, { source, error, progressed: position > before })
    }
  }

  async #reopen(position: number, broken: BrokenSource): Promise<void> {
    const next = await this.#options.reopen(position, broken)
    if (next === undefined) throw new BrokenTransferError('no source is left for the rest', { cause: broken.error })
    if (next.size !== this.size) {
      next.cancel()
      const error = new Error(`${next.name} says ${next.size} bytes where others said ${this.size}`)
      return this.#reopen(position, { source: next, error, progressed: false })
    }
    this.#current = next
  }
}

/** A source's body, cancelled when it stays silent for too long. Time during which nobody asks for more does not count. */
async function* guarded(source: SourceStream): AsyncGenerator<Uint8Array> {
  let waiting = true
  let stalled = false
  const silence = new Silence(source.stall, () => {
    if (!waiting) return
    stalled = true
    source.cancel()
  })
  try {
    for await (const chunk of source.body) {
      waiting = false
      yield chunk
      waiting = true
      silence.heard()
    }
    if (stalled) throw new StalledError(silent(source))
  } catch (cause) {
    if (stalled) throw new StalledError(silent(source), { cause })
    throw cause
  } finally {
    silence.stop()
  }
}

function silent(source: SourceStream): string {
  return `${source.name} sent nothing for ${source.stall} ms`
}
