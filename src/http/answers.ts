import { once } from 'node:events'

import type { BlobDelivery } from '../delivery/blobs/blob-delivery.ts'
import type { PartContent, PartsDelivery } from '../delivery/blobs/part-deliveries.ts'
import type { DeliveredManifest } from '../delivery/manifests/delivered-manifest.ts'
import { type Bandwidth, throttled } from '../mover/bandwidth.ts'
import type { BufferPool } from '../mover/buffer-pool.ts'
import { moveChunks, moveFile, written } from '../mover/file-mover.ts'
import type { FileMover } from '../mover/sendfile-mover.ts'
import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { type ByteSpan, parseRange, resolveRange } from '../oci/range.ts'
import { errorText } from '../telemetry/log.ts'
import { second } from '../time/units.ts'
import { type Exchange, breakOff } from './exchange.ts'
import { withFirstChunk } from './first-chunk.ts'
import { type MinimumRate, RateWatch } from './minimum-rate.ts'
import { MultipartFrame } from './multipart-frame.ts'

const BLOB_TYPE = 'application/octet-stream'
/** The rest of the ten seconds that containerd waits for a header, after the nine of HEADER_DEADLINE in `mirror-listener.ts`. */
const FIRST_CHUNK_PATIENCE = 0.9 * second

/** Answers with a verified manifest. */
export function sendManifest(exchange: Exchange, manifest: DeliveredManifest): void {
  const { bytes, descriptor } = manifest
  const span = resolveRange(parseRange(exchange.request.headers.range), bytes.length)
  if (span === undefined)
    throw new OciError('RANGE_INVALID', { headers: { 'content-range': `bytes */${bytes.length}` } })
  const sent = span.end - span.start
  exchange.fields.shares = [
    { source: manifest.source, bytes: sent, ...(manifest.peer === undefined ? {} : { peer: manifest.peer }) },
  ]
  const head = contentHead(exchange, {
    digest: descriptor.digest,
    type: descriptor.mediaType,
    size: bytes.length,
    span,
  })
  send(exchange, head, bytes.subarray(span.start, span.end))
}

/** Answers a HEAD for a manifest. */
export function sendManifestHead(exchange: Exchange, { digest, size, mediaType }: Descriptor): void {
  send(exchange, wholeHead({ digest, type: mediaType, size }))
}

/** Answers a HEAD for a blob. */
export function sendBlobHead(exchange: Exchange, digest: Digest, size: number): void {
  send(exchange, wholeHead({ digest, type: BLOB_TYPE, size }))
}

/** How blobs are sent. */
export interface BlobSending {
  /** Writes a file to a client; `moveFile` if absent. */
  readonly mover?: FileMover | undefined
  /** Limits the bytes of blobs; undefined for no limit. */
  readonly bandwidth?: Bandwidth | undefined
  /** The pool that takes back written chunks. */
  readonly buffers?: BufferPool | undefined
  /** A client that takes its bytes more slowly loses its transfer; undefined for no minimum. */
  readonly minimumRate?: MinimumRate | undefined
}

/**
 * Answers with a blob's bytes, no faster than its share of `bandwidth`, and closes the delivery in any case. Throws errors that precede the
 * head, so that the answer can still be a refusal; a later error breaks the answer off.
 */
export function sendBlob(
  exchange: Exchange,
  digest: Digest,
  delivery: BlobDelivery,
  sending: BlobSending = {},
): Promise<void> {
  return sendClosing(exchange, delivery, sending, async (move) => {
    const { size, span } = delivery
    const content: PartContent =
      delivery.type === 'file'
        ? { type: 'file', span, file: delivery.file }
        : { type: 'stream', span, chunks: await begun(delivery.chunks(), digest, exchange.signal) }
    writeHead(exchange, contentHead(exchange, { digest, type: BLOB_TYPE, size, span }))
    await move(content)
  })
}

/** Like {@link sendBlob}, with several parts of a blob as `multipart/byteranges` (RFC 9110 15.3.7.2): one part for each range, as containers/image wants it. */
export function sendParts(
  exchange: Exchange,
  digest: Digest,
  delivery: PartsDelivery,
  sending: BlobSending = {},
): Promise<void> {
  const { response, signal } = exchange
  return sendClosing(exchange, delivery, sending, async (move) => {
    const frame = new MultipartFrame(delivery.spans, delivery.size, BLOB_TYPE)
    let index = 0
    for await (const part of delivery.contents()) {
      const isFirst = index === 0
      const content =
        isFirst && part.type === 'stream' ? { ...part, chunks: await begun(part.chunks, digest, signal) } : part
      if (isFirst) writeHead(exchange, frame.head(headersOf({ digest, type: BLOB_TYPE })))
      await written(response, frame.before(index))
      await move(content)
      index += 1
    }
    await written(response, frame.end)
  })
}

/** Sends what has a record, and closes it in any case. `send` writes the head; what it throws earlier can still become a refusal. */
async function sendClosing(
  exchange: Exchange,
  delivery: Pick<PartsDelivery, 'record' | 'close'>,
  { mover = moveFile, bandwidth, buffers, minimumRate }: BlobSending,
  send: (move: (content: PartContent) => Promise<void>) => Promise<void>,
): Promise<void> {
  const { response, signal } = exchange
  const watch = minimumRate && new RateWatch(response, minimumRate, (error) => breakOff(exchange, error, 'client-gone'))
  exchange.fields.shares = delivery.record.shares
  const onGone = () => void delivery.close().catch(() => {})
  const move = async (content: PartContent) => {
    const share = bandwidth?.share(signal)
    try {
      if (content.type === 'file') await mover(content.file, content.span, response, share, watch?.direct)
      else await moveChunks(throttled(content.chunks, share), response, buffers)
    } finally {
      share?.close()
    }
  }
  try {
    signal.throwIfAborted()
    signal.addEventListener('abort', onGone, { once: true })
    await send(move)
    await finish(exchange)
  } catch (error) {
    if (!exchange.reply.sent) throw error
    breakOff(exchange, error)
  } finally {
    watch?.stop()
    signal.removeEventListener('abort', onGone)
    await delivery.close()
  }
}

function writeHead({ reply, response }: Exchange, { status, headers }: Head): void {
  reply.hijack()
  response.writeHead(status, headers)
  response.flushHeaders()
}

/**
 * The chunks, once the first has arrived. A failure before it becomes a refusal, after which containerd asks its next host: it gives up after
 * four answers that break off without a byte.
 */
async function begun(
  chunks: AsyncIterable<Uint8Array>,
  digest: Digest,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await withFirstChunk(chunks, FIRST_CHUNK_PATIENCE, signal)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof OciError) throw cause
    throw new OciError('BLOB_UNKNOWN', {
      message: `${digest} broke off before its first byte: ${errorText(cause)}`,
      cause,
    })
  }
}

/** Answers with a small body, of the type `application/json` unless `headers` name another. */
export function sendBody(
  exchange: Exchange,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  status = 200,
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  send(exchange, { status, headers: { 'content-type': 'application/json', ...headers } }, bytes)
}

interface Content {
  readonly digest: Digest
  readonly type: string
  /** Bytes of the whole content. */
  readonly size: number
}

interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
}

/** The head of an answer to a GET. Never 200 without digest and length: containerd then repeats its request and fails on any error. */
function contentHead({ request }: Exchange, content: Content & { readonly span: ByteSpan }): Head {
  const { size, span } = content
  // Content-Range cannot express a part of an empty content.
  const isPartial = size > 0 && parseRange(request.headers.range).type !== 'whole'
  const headers = { ...headersOf(content), 'content-length': span.end - span.start }
  if (!isPartial) return { status: 200, headers }
  return { status: 206, headers: { ...headers, 'content-range': `bytes ${span.start}-${span.end - 1}/${size}` } }
}

/** The head of an answer to a HEAD, which ignores `Range`. */
function wholeHead(content: Content): Head {
  return { status: 200, headers: { ...headersOf(content), 'content-length': content.size } }
}

function headersOf({ digest, type }: Pick<Content, 'digest' | 'type'>) {
  return { 'content-type': type, 'docker-content-digest': digest, etag: `"${digest}"`, 'accept-ranges': 'bytes' }
}

/** Sends a small answer through Fastify, which omits the body of an answer to a HEAD. */
function send({ reply }: Exchange, { status, headers }: Head, body?: Uint8Array): void {
  void reply.code(status).headers(headers).send(body)
}

/** Ends a hijacked answer and waits until its last byte has left or its connection has closed. */
async function finish({ response, signal }: Exchange): Promise<void> {
  if (response.destroyed) throw new Error('the client has gone')
  const gone = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  const finished = once(response, 'finish')
  response.end()
  await Promise.race([finished, gone])
}
