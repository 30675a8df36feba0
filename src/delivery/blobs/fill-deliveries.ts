import { type ByteSpan, type RangeRequest, extentOf, spanOf } from '../../oci/range.ts'
import { repositoryKey } from '../../oci/reference.ts'
import { IngestError } from '../../store/cache-store.ts'
import { errorCode } from '../../store/file-blob.ts'
import { DeadlineError, withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { BlobDelivery } from './blob-delivery.ts'
import type { BlobRequest } from './blob-request.ts'
import type { Fill, Fills } from './fill.ts'
import { readGrowing } from './read-growing.ts'
import type { RemoteBlobs } from './remote-blobs.ts'
import { TransferRecord } from './transfer-record.ts'

interface FillDeliveriesOptions {
  readonly fills: Fills
  /** Delivers the rest of a blob that the cache could not keep. */
  readonly remote: Pick<RemoteBlobs, 'open'>
  /** Whether the client may read content of this node. */
  readonly mayRead: (request: BlobRequest, signal: AbortSignal) => Promise<boolean>
}

/** A client that resumes ahead of a fill waits this long for it, then goes past it. One that reads a part does not wait. */
const RANGE_PATIENCE = 2 * second
/** Delivers blobs out of the fills that bring them into the cache. */
export class FillDeliveries {
  readonly #options: FillDeliveriesOptions

  constructor(options: FillDeliveriesOptions) {
    this.#options = options
  }

  /**
   * A blob, or a part of it, out of the fill of its digest, which is begun if there is none. undefined if no fill serves the request: the blob
   * cannot be kept, the part is not there yet, or the client may not read what the fill fetches. Throws OciError if no source has the blob.
   */
  async open(request: BlobRequest, range: RangeRequest, signal: AbortSignal): Promise<BlobDelivery | undefined> {
    const extent = extentOf(range)
    const fill = await this.#options.fills.join(request, extent)
    if (fill === undefined) return undefined
    const isSameRight =
      fill.caller?.id === request.caller?.id && repositoryKey(fill.repository) === repositoryKey(request.repository)
    // The fill uses another repository or another client's credentials: this client needs access of its own, or its own fetch.
    if (!isSameRight && !(await this.#options.mayRead(request, signal))) return undefined
    const span = spanOf(range, fill.size)
    const reader = await fill.open()
    const close = () => reader.close()
    try {
      const isAhead = span.start > fill.written
      if (isAhead && (extent === 'part' || !(await reaches(fill, reader.read.bind(reader), span.start, signal)))) {
        await close()
        return undefined
      }
      const record = new TransferRecord()
      const chunks = () => this.#read(request, fill, reader, span, record, signal)
      return { type: 'stream', size: fill.size, span, record, origin: fill.origin, chunks, close }
    } catch (error) {
      await close()
      throw error
    }
  }

  async *#read(
    request: BlobRequest,
    fill: Fill,
    reader: Awaited<ReturnType<Fill['open']>>,
    span: ByteSpan,
    record: TransferRecord,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let position = span.start
    try {
      for await (const chunk of readGrowing(reader, span, signal)) {
        // The end is held back until the whole blob has proved right, so that wrong bytes never look complete.
        if (position + chunk.length >= fill.size) await fill.done
        const origin = fill.record.shares.at(-1)
        record.add(origin?.source ?? 'local', origin?.peer, chunk.length)
        position += chunk.length
        yield chunk
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!isFaultOfCache(error)) throw error
      // The cache could not keep it (its disk is full): this client gets the rest all the same.
      const open = { start: position, end: span.end === fill.size ? undefined : span.end, serves: false, signal }
      const rest = await this.#options.remote.open(request, open)
      try {
        for await (const chunk of rest.chunks(span.end)) yield chunk
      } finally {
        rest.cancel()
        for (const share of rest.record.shares) record.add(share.source, share.peer, share.bytes)
      }
    }
  }
}

/** Other errors concern the bytes: a source broke off, or the digest does not match; the answer must not look complete. */
function isFaultOfCache(error: unknown): boolean {
  if (error instanceof IngestError) return error.reason === 'disk-full' || error.reason === 'io'
  return errorCode(error) !== undefined
}

/** Waits until a fill has reached `position`; false if it takes too long. */
async function reaches(
  fill: Fill,
  read: (target: Uint8Array, position: number, options: { signal: AbortSignal }) => Promise<number>,
  position: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await withDeadline(RANGE_PATIENCE, 'waiting for a fill', signal, (signal) =>
      read(new Uint8Array(1), position, { signal }),
    )
    return true
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof DeadlineError || fill.written <= position) return false
    throw error
  }
}
