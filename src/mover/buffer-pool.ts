/**
 * Buffers of one size for bytes that only pass through: whoever has written a chunk gives it back, and the next read goes into the same
 * memory. A chunk that nobody gives back is the garbage collector's, so forgetting one costs time and never correctness.
 */
export class BufferPool {
  /** Of each buffer, in bytes. */
  readonly bufferBytes: number
  readonly #maxFree: number
  readonly #free: Buffer[] = []
  /** What was handed out, by the very object: a part of a chunk, or a copy, is not the chunk. */
  readonly #lent = new WeakMap<Uint8Array, Buffer>()

  /** `maxFree` bounds what is kept for later. */
  constructor({ bufferBytes = 256 * 1024, maxFree = 32 }: { bufferBytes?: number; maxFree?: number } = {}) {
    this.bufferBytes = bufferBytes
    this.#maxFree = maxFree
  }

  /** A buffer with anything in it. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bufferBytes)
  }

  /** The first `length` bytes of a buffer as a chunk, which belongs to whoever gets it. */
  lend(buffer: Buffer, length: number): Uint8Array {
    const chunk = buffer.subarray(0, length)
    this.#lent.set(chunk, buffer)
    return chunk
  }

  /** A buffer that was not lent; one that is not of this size goes its way. */
  putBack(buffer: Buffer): void {
    if (buffer.length === this.bufferBytes && this.#free.length < this.#maxFree) this.#free.push(buffer)
  }

  /** Takes a chunk that nobody reads any more; anything that was not lent, or was given back already, is left alone. */
  giveBack(chunk: Uint8Array): void {
    const buffer = this.#lent.get(chunk)
    if (buffer === undefined) return
    this.#lent.delete(chunk)
    this.putBack(buffer)
  }
}
