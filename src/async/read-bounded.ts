/** A stream has more bytes than its reader accepts. Callers turn it into an error of their own that names the sender. */
export class TooManyBytesError extends Error {
  override readonly name = 'TooManyBytesError'
  /** In bytes. */
  readonly limit: number

  constructor(limit: number) {
    super(`more than ${limit} bytes`)
    this.limit = limit
  }
}

/**
 * Reads a stream to its end into one buffer. Throws TooManyBytesError as soon as it exceeds `limit` bytes, and what the stream throws;
 * both end the stream, since the loop calls the iterator's `return`.
 */
export async function readBounded(stream: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream) {
    length += chunk.length
    if (length > limit) throw new TooManyBytesError(limit)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}
