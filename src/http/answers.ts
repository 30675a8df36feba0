import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import type { BlobDelivery } from '../delivery/blobs/blob-delivery.ts'
import type { DeliveredManifest } from '../delivery/manifests/delivered-manifest.ts'
import { type Bandwidth, throttled } from '../mover/bandwidth.ts'
import type { BufferPool } from '../mover/buffer-pool.ts'
import { moveChunks, moveFile } from '../mover/file-mover.ts'
import type { FileMover } from '../mover/sendfile-mover.ts'
import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { type ByteSpan, parseRange, resolveRange } from '../oci/range.ts'
import { errorText } from '../telemetry/log.ts'
import type { Exchange } from './exchange.ts'
import { withFirstChunk } from './first-chunk.ts'
import { type MinimumRate, RateWatch } from './minimum-rate.ts'

const BLOB_TYPE = 'application/octet-stream'
/** What is left of the ten seconds in which a client wants its header. */
const FIRST_CHUNK_PATIENCE = 900

/** Answers with a verified manifest. */
export async function sendManifest(exchange: Exchange, manifest: DeliveredManifest): Promise<void> {
  const { response } = exchange
  const { bytes, descriptor } = manifest
  const span = resolveRange(parseRange(exchange.request.headers.range), bytes.length)
  if (span === undefined)
    throw new OciError('RANGE_INVALID', { headers: { 'content-range': `bytes */${bytes.length}` } })
  const sent = span.end - span.start
  exchange.fields.shares = [
    { source: manifest.source, bytes: sent, ...(manifest.peer === undefined ? {} : { peer: manifest.peer }) },
  ]
  writeContentHead(exchange, { digest: descriptor.digest, type: descriptor.mediaType, size: bytes.length, span })
  await finish(response, bytes.subarray(span.start, span.end))
}

/** Answers a HEAD for a manifest. */
export async function sendManifestHead(exchange: Exchange, descriptor: Descriptor): Promise<void> {
  const { digest, size, mediaType } = descriptor
  writeContentHead(exchange, { digest, type: mediaType, size, span: { start: 0, end: size } }, { ignoreRange: true })
  await finish(exchange.response)
}

/** Answers a HEAD for a blob. */
export async function sendBlobHead(exchange: Exchange, digest: Digest, size: number): Promise<void> {
  writeContentHead(exchange, { digest, type: BLOB_TYPE, size, span: { start: 0, end: size } }, { ignoreRange: true })
  await finish(exchange.response)
}

/** How blobs are sent. */
export interface BlobSending {
  /** How files get to a client; moveFile if absent. */
  readonly mover?: FileMover | undefined
  /** Limits the bytes of blobs; undefined for no limit. */
  readonly bandwidth?: Bandwidth | undefined
  /** Where chunks that were written go back to. */
  readonly buffers?: BufferPool | undefined
  /** A client that takes its bytes more slowly loses its transfer; undefined for no minimum. */
  readonly minimumRate?: MinimumRate | undefined
}

/** Answers with a blob's bytes, no faster than its share of `bandwidth`, and closes the delivery whatever happens. */
export async function sendBlob(
  exchange: Exchange,
  digest: Digest,
  delivery: BlobDelivery,
  { mover = moveFile, bandwidth, buffers, minimumRate }: BlobSending = {},
): Promise<void> {
  const { response, signal } = exchange
  const share = bandwidth?.share(signal)
  const watch = minimumRate === undefined ? undefined : new RateWatch(response, minimumRate)
  exchange.fields.shares = delivery.record.shares
  const onGone = () => void delivery.close().catch(() => {})
  try {
    signal.throwIfAborted()
    signal.addEventListener('abort', onGone, { once: true })
    const chunks = delivery.type === 'file' ? undefined : await begun(delivery, digest, signal)
    writeContentHead(exchange, { digest, type: BLOB_TYPE, size: delivery.size, span: delivery.span })
    response.flushHeaders()
    if (delivery.type === 'file') await mover(delivery.file, delivery.span, response, share, watch?.direct)
    else if (chunks !== undefined) await moveChunks(throttled(chunks, share), response, buffers)
    await finish(response)
    if (watch?.failure !== undefined) throw watch.failure
  } catch (error) {
    throw watch?.failure ?? error
  } finally {
    watch?.stop()
    signal.removeEventListener('abort', onGone)
    share?.close()
    await delivery.close()
  }
}

/** containerd gives up after four answers that broke off without a byte; after a refusal it goes to the next host. */
async function begun(
  delivery: Extract<BlobDelivery, { type: 'stream' }>,
  digest: Digest,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await withFirstChunk(delivery.chunks(), FIRST_CHUNK_PATIENCE, signal)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof OciError) throw cause
    throw new OciError('BLOB_UNKNOWN', {
      message: `${digest} broke off before its first byte: ${errorText(cause)}`,
      cause,
    })
  }
}

export async function sendJson(
  exchange: Exchange,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<void> {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  exchange.response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length, ...headers })
  await finish(exchange.response, bytes)
}

interface ContentHead {
  readonly digest: Digest
  readonly type: string
  readonly size: number
  readonly span: ByteSpan
}

function writeContentHead(exchange: Exchange, head: ContentHead, options: { ignoreRange?: boolean } = {}): void {
  const { request, response } = exchange
  // No Content-Range can tell of a part of nothing.
  const isPartial = options.ignoreRange !== true && head.size > 0 && parseRange(request.headers.range).type !== 'whole'
  // Never 200 without digest and length: containerd would then ask again and give up on any error.
  response.writeHead(isPartial ? 206 : 200, {
    'content-type': head.type,
    'content-length': head.span.end - head.span.start,
    'docker-content-digest': head.digest,
    etag: `"${head.digest}"`,
    'accept-ranges': 'bytes',
    ...(isPartial ? { 'content-range': `bytes ${head.span.start}-${head.span.end - 1}/${head.size}` } : {}),
  })
}

async function finish(response: ServerResponse, last?: Uint8Array): Promise<void> {
  if (response.destroyed) throw new Error('the client has gone')
  const closed = once(response, 'close')
  const finished = once(response, 'finish')
  response.end(response.req.method === 'HEAD' ? undefined : last)
  await Promise.race([finished, closed])
}
