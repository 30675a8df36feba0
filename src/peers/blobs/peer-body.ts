import type { BufferPool } from '../../mover/buffer-pool.ts'

/** Read and not yet asked for: a second buffer's worth, so that one is filled while the other is on its way. */
const MAX_QUEUED = 256 * 1024
/** A peer that sends byte by byte must not fill the queue with what each of them costs. */
const MAX_CHUNKS = 64

export interface PeerBodyOptions {
  /** In bytes; undefined if that is not known: then nothing of it can be read. */
  readonly length: number | undefined
  /** The longest silence while somebody waits for a chunk, in milliseconds. */
  readonly idleTimeout: number
  readonly buffers: BufferPool
  /** There is room again for what was held back. */
  readonly onRoom: () => void
  /** Nothing more of what was to come is wanted, or can come: `error` says why if it is not whole. Told once. */
  readonly onEnd: (error: Error | undefined) => void
}

/** An answer's body as it comes in, to be read once. Each chunk belongs to whoever gets it. */
export class PeerBody implements AsyncIterableIterator<Uint8Array> {
  readonly #options: PeerBodyOptions
  readonly #chunks: Uint8Array[] = []
  #queued = 0
  #missing: number
  #error: Error | undefined
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array, undefined>> | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(options: PeerBodyOptions) {
    this.#options = options
    this.#missing = options.length ?? 0
    if (options.length === undefined) this.#error = new Error('the answer does not say how long it is')
    else if (options.length > 0) this.#idle = setTimeout(() => this.#onIdle(), options.idleTimeout)
  }

  /** Bytes that have not come yet. */
  get missing(): number {
    return this.#missing
  }

  /** Whether more should be read now. */
  get hasRoom(): boolean {
    return this.#queued < MAX_QUEUED && this.#chunks.length < MAX_CHUNKS
  }

  /** Takes in the next bytes, at most as many as are missing. */
  push(chunk: Uint8Array): void {
    if (this.#error !== undefined) return this.#options.buffers.giveBack(chunk)
    this.#missing -= chunk.length
    this.#idle?.refresh()
    if (this.#waiting === undefined) {
      this.#chunks.push(chunk)
      this.#queued += chunk.length
    } else this.#settle()?.resolve({ done: false, value: chunk })
    if (this.#missing === 0) this.#end(undefined)
  }

  /** What came before is still read; then the reader gets the error. */
  fail(error: Error): void {
    if (this.#error !== undefined || this.#isWhole) return
    this.#error = error
    this.#settle()?.reject(error)
    this.#end(error)
  }

  /** Ends it early. Safe to call at any time. */
  destroy(): void {
    const error = new Error('it was not wanted any more')
    this.fail(error)
    // What was there and is not read must not look like its end.
    if (this.#chunks.length > 0) this.#error ??= error
    for (const chunk of this.#chunks.splice(0)) this.#options.buffers.giveBack(chunk)
    this.#queued = 0
  }

  /** Reads it and throws it away; what is longer than `limit` bytes, or not over when the signal comes, is ended early. */
  async dump({ limit, signal }: { limit: number; signal: AbortSignal }): Promise<void> {
    const onAbort = () => this.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      let length = 0
      for await (const chunk of this) {
        length += chunk.length
        this.#options.buffers.giveBack(chunk)
        if (length > limit) break
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const hadRoom = this.hasRoom
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      this.#queued -= chunk.length
      if (!hadRoom && this.hasRoom && !this.#isWhole) this.#options.onRoom()
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#isWhole) return Promise.resolve({ done: true, value: undefined })
    this.#idle?.refresh()
    this.#waiting = Promise.withResolvers()
    return this.#waiting.promise
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.destroy()
    return Promise.resolve({ done: true, value: undefined })
  }

  get #isWhole(): boolean {
    return this.#missing === 0 && this.#options.length !== undefined
  }

  #settle() {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }

  #onIdle(): void {
    if (this.#waiting === undefined) this.#idle?.refresh()
    else this.fail(new Error(`nothing came for ${this.#options.idleTimeout} ms`))
  }

  #end(error: Error | undefined): void {
    clearTimeout(this.#idle)
    this.#options.onEnd(error)
  }
}
