import type { ByteSpan } from '../../oci/range.ts'

/** Reads ascending spans out of one stream of bytes, and drops what lies between them. */
export class SpanReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>
  /** Of the first byte that was not read yet. */
  #position: number
  #rest: Uint8Array = new Uint8Array()

  /** `start`: the position of the stream's first byte. */
  constructor(chunks: AsyncIterable<Uint8Array>, start: number) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#position = start
  }

  /** The bytes of a span that begins at or after the end of the one before. `onRead` is told how many bytes each chunk has. */
  async *read(span: ByteSpan, onRead: (bytes: number) => void): AsyncGenerator<Uint8Array> {
    while (this.#position < span.start) await this.#take(span.start)
    while (this.#position < span.end) {
      const chunk = await this.#take(span.end)
      onRead(chunk.length)
      yield chunk
    }
  }

  /** Ends the stream. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.()
  }

  /** The next bytes before `end`, at least one. */
  async #take(end: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next()
      if (next.done === true) throw new Error(`the blob ended at byte ${this.#position}, before byte ${end}`)
      this.#rest = next.value
    }
    const rest = this.#rest
    const count = Math.min(rest.length, end - this.#position)
    this.#position += count
    this.#rest = rest.subarray(count)
    // A chunk that is taken whole stays the very object, so that its buffer can be given back.
    return count === rest.length ? rest : rest.subarray(0, count)
  }
}
