import { UpstreamError } from '../upstream.ts'

/** Without the first `skip` bytes, and no more than `count`: bytes past the blob's size do not belong to it. */
export async function* section(
  body: AsyncIterable<Uint8Array>,
  skip: number,
  count: number,
): AsyncIterable<Uint8Array> {
  let [toSkip, left] = [skip, count]
  for await (const chunk of body) {
    const part = chunk.subarray(Math.min(toSkip, chunk.length)).subarray(0, left)
    toSkip -= Math.min(toSkip, chunk.length)
    left -= part.length
    if (part.length > 0) yield part
    if (left <= 0) return
  }
}

/**
 * As {@link section}, of a body whose length nobody has said: only its end proves that the count is right. The last bytes are held back until then,
 * so that a blob that is longer than its manifest states does not look complete. Throws UpstreamError.
 */
export async function* exactSection(
  body: AsyncIterable<Uint8Array>,
  skip: number,
  count: number,
  host: string,
): AsyncIterable<Uint8Array> {
  let [toSkip, left] = [skip, count]
  let last: Uint8Array | undefined
  for await (const chunk of body) {
    const part = chunk.subarray(Math.min(toSkip, chunk.length))
    toSkip -= chunk.length - part.length
    if (part.length > left) throw new UpstreamError('invalid', `${host} sends more bytes than the manifest states`)
    left -= part.length
    if (left > 0) yield part
    else last ??= part
  }
  if (last !== undefined && last.length > 0) yield last
}
