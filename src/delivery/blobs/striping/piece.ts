import type { ByteSpan } from '../../../oci/range.ts'
import type { Holder } from './holders.ts'

/** Bytes and the name of the holder that sent them. */
export interface SentChunk {
  readonly chunk: Uint8Array
  readonly from: string
}

/** One holder's work on one piece. */
export interface Attempt {
  readonly holder: Holder
  readonly controller: AbortController
  readonly began: number
  bytes: number
}

/** A span that is being fetched, by one holder or by several at once: whoever is ahead gives the next byte. */
export class Piece {
  readonly end: number
  readonly attempts = new Set<Attempt>()
  /** All bytes before this one have arrived. */
  received: number
  readonly #chunks: SentChunk[] = []

  constructor(span: ByteSpan) {
    this.received = span.start
    this.end = span.end
  }

  get isWhole(): boolean {
    return this.received === this.end
  }

  /** Takes in what is new in a chunk that begins at `position`; says how many bytes that are. */
  add(position: number, chunk: Uint8Array, from: string): number {
    const known = Math.max(0, this.received - position)
    if (known >= chunk.length) return 0
    const part = known === 0 ? chunk : chunk.subarray(known)
    this.received += part.length
    this.#chunks.push({ chunk: part, from })
    return part.length
  }

  /** The next chunk that has not been taken out yet. */
  shift(): SentChunk | undefined {
    return this.#chunks.shift()
  }
}
