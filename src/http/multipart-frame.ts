import { randomBytes } from 'node:crypto'

import type { ByteSpan } from '../oci/range.ts'

type Headers = Readonly<Record<string, string | number>>

/** What stands around the parts of a `multipart/byteranges` answer (RFC 9110 14.6, RFC 2046 5.1.1). */
export class MultipartFrame {
  /** After the last part. */
  readonly end: Buffer
  readonly #spans: readonly ByteSpan[]
  readonly #size: number
  readonly #type: string
  /** Random, so that no content can be made to hold it. */
  readonly #boundary = randomBytes(18).toString('hex')

  /** `size`: of the whole content; `type`: its media type. */
  constructor(spans: readonly ByteSpan[], size: number, type: string) {
    this.#spans = spans
    this.#size = size
    this.#type = type
    this.end = Buffer.from(`\r\n--${this.#boundary}--\r\n`)
  }

  /** The head of the answer, with the other `headers` of the content. */
  head(headers: Headers): { readonly status: number; readonly headers: Headers } {
    return {
      status: 206,
      headers: {
        ...headers,
        'content-type': `multipart/byteranges; boundary=${this.#boundary}`,
        'content-length': this.#length(),
      },
    }
  }

  /** What stands before the content of a part. */
  before(index: number): Buffer {
    const span = this.#spans[index]
    if (span === undefined) throw new Error(`there is no part ${index}`)
    const range = `bytes ${span.start}-${span.end - 1}/${this.#size}`
    const head = `--${this.#boundary}\r\ncontent-type: ${this.#type}\r\ncontent-range: ${range}\r\n\r\n`
    return Buffer.from(index === 0 ? head : `\r\n${head}`)
  }

  #length(): number {
    const parts = this.#spans.map(({ start, end }, index) => this.before(index).length + end - start)
    return parts.reduce((sum, length) => sum + length, this.end.length)
  }
}
