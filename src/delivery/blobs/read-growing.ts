import type { ByteSpan } from '../../oci/range.ts'
import type { GrowingBlob } from '../../store/content-store.ts'

const CHUNK = 256 * 1024

/** The bytes of a span, as they come in. Each chunk is a buffer of its own, so it may be queued. */
export async function* readGrowing(
  blob: Pick<GrowingBlob, 'read'>,
  span: ByteSpan,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let position = span.start
  while (position < span.end) {
    const target = Buffer.allocUnsafe(Math.min(CHUNK, span.end - position))
    const count = await blob.read(target, position, { signal })
    if (count === 0) throw new Error(`the blob ended at byte ${position}, before byte ${span.end}`)
    position += count
    yield count === target.length ? target : target.subarray(0, count)
  }
}
