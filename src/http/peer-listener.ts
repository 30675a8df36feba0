import type { IncomingMessage } from 'node:http'

import type { BlobDeliveries } from '../delivery/blob-delivery.ts'
import type { Manifests } from '../delivery/manifests.ts'
import type { TagResolver } from '../delivery/tag-resolver.ts'
import { OciError, type OciErrorCode } from '../oci/errors.ts'
import { parseRange } from '../oci/range.ts'
import { parseOciRequest } from '../oci/request.ts'
import { ABSENT_HEADER, ACCESS_HEADER, AS_OF_HEADER, BUSY_HEADER } from '../peers/headers.ts'
import { ANNOUNCE_PATH, LOOKUP_PATH } from '../peers/index-http-transport.ts'
import { refuseRequest } from '../peers/request-proof.ts'
import type { IndexHandler } from '../providers/index-transport.ts'
import {
  InvalidMessage,
  MAX_MESSAGE_BYTES,
  decodeAnnouncement,
  decodeLookup,
  encodeAnnounceResult,
  encodeLookupResult,
} from '../providers/messages.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../store/content-store.ts'
import { sendBlob, sendBlobHead, sendJson, sendManifest, sendManifestHead } from './answers.ts'
import type { Exchange } from './exchange.ts'
import { describe, requireRead } from './requests.ts'

export interface PeerListenerOptions {
  readonly blobs: Pick<BlobDeliveries, 'openLocal'>
  readonly manifests: Pick<Manifests, 'getLocal'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly store: Pick<ContentStore, 'open' | 'resolve'>
  readonly index: IndexHandler
  /** The keys of the cluster's secrets; undefined in a cluster without one. */
  readonly keys: readonly Uint8Array[] | undefined
  /** How many blobs are sent at a time; a peer that comes on top is told to ask elsewhere. */
  readonly maxTransfers: number
}

/** What other nodes talk to: this node's own content and its part of the index. Never asks an upstream for content. */
export function createPeerHandler(options: PeerListenerOptions): (exchange: Exchange) => Promise<void> {
  const admission = { transfers: 0 }
  return async (exchange) => {
    const { request } = exchange
    const target = request.url ?? ''
    if (request.method === 'POST' && (target === ANNOUNCE_PATH || target === LOOKUP_PATH)) {
      return serveIndex(options, exchange, target)
    }
    requireProof(options.keys, request, new Uint8Array())
    requireRead(exchange)
    await serveContent(options, exchange, admission)
  }
}

async function serveIndex(options: PeerListenerOptions, exchange: Exchange, target: string): Promise<void> {
  const { request } = exchange
  exchange.fields.kind = target === ANNOUNCE_PATH ? 'announce' : 'lookup'
  const limit = target === ANNOUNCE_PATH ? MAX_MESSAGE_BYTES.announcement : MAX_MESSAGE_BYTES.lookup
  // A stranger cannot make this node read megabytes: without something that looks like a proof nothing is read.
  if (options.keys !== undefined && request.headers.authorization === undefined)
    requireProof(options.keys, request, new Uint8Array())
  const body = await readBody(request, limit)
  requireProof(options.keys, request, body)
  try {
    if (target === ANNOUNCE_PATH)
      return await sendJson(exchange, encodeAnnounceResult(options.index.handleAnnounce(decodeAnnouncement(body))))
    return await sendJson(exchange, encodeLookupResult(options.index.handleLookup(decodeLookup(body))))
  } catch (cause) {
    if (cause instanceof InvalidMessage)
      throw new OciError('UNSUPPORTED', { status: 400, message: cause.message, cause })
    throw cause
  }
}

async function serveContent(
  options: PeerListenerOptions,
  exchange: Exchange,
  admission: { transfers: number },
): Promise<void> {
  const { request, response, signal } = exchange
  const asked = parseOciRequest(request.url ?? '')
  if (asked.type === 'base') return sendJson(exchange, '{}')
  if (asked.type === 'listing') throw new OciError('UNSUPPORTED', { status: 404 })
  describe(exchange, asked)
  const { repository } = asked
  const head = request.method === 'HEAD'

  if (asked.type === 'blob') {
    if (!head && admission.transfers >= options.maxTransfers) throw busy()
    // A HEAD sends nothing: it neither waits for a place nor takes one.
    const places = head ? 0 : 1
    admission.transfers += places
    try {
      const range = head ? ({ type: 'whole' } as const) : parseRange(request.headers.range)
      const delivery = await options.blobs.openLocal(asked, range, 'peer', signal)
      if (delivery === undefined) throw await notHere(options, 'BLOB_UNKNOWN', asked.digest, signal)
      if (!head) return await sendBlob(exchange, asked.digest, delivery)
      await delivery.close()
      return await sendBlobHead(exchange, asked.digest, delivery.size)
    } finally {
      admission.transfers -= places
    }
  }

  if (asked.reference.type === 'tag') {
    const tag = { ...repository, tag: asked.reference.tag }
    const known = await options.tags.resolveLocal(tag, 'peer', signal)
    if (known === undefined)
      throw unknown('MANIFEST_UNKNOWN', (await options.store.resolve(tag, { signal })) === undefined)
    response.setHeader(AS_OF_HEADER, new Date(known.asOf).toISOString())
    return sendManifestHead(exchange, known.descriptor)
  }
  const manifest = await options.manifests.getLocal(repository, asked.reference.digest, 'peer', signal)
  if (manifest === undefined) throw await notHere(options, 'MANIFEST_UNKNOWN', asked.reference.digest, signal)
  response.setHeader(ACCESS_HEADER, manifest.access)
  return head ? sendManifestHead(exchange, manifest.descriptor) : sendManifest(exchange, manifest)
}

/** A peer that only may not see it under this name must not take this node's claim for wrong. */
async function notHere(
  options: PeerListenerOptions,
  code: OciErrorCode,
  digest: Digest,
  signal: AbortSignal,
): Promise<OciError> {
  const blob = await options.store.open(digest, { signal })
  await blob?.close()
  return unknown(code, blob === undefined)
}

function unknown(code: OciErrorCode, absent: boolean): OciError {
  return new OciError(code, absent ? { headers: { [ABSENT_HEADER]: '1' } } : {})
}

function busy(): OciError {
  return new OciError('UNAVAILABLE', { message: 'this node sends as much as it may', headers: { [BUSY_HEADER]: '1' } })
}

function requireProof(keys: readonly Uint8Array[] | undefined, request: IncomingMessage, body: Uint8Array): void {
  if (keys === undefined) return
  const proven = { method: request.method ?? '', target: request.url ?? '', body }
  const refusal = refuseRequest(keys, request.headers.authorization, proven)
  if (refusal !== undefined) throw new OciError('DENIED', { message: refusal })
}

async function readBody(request: IncomingMessage, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > limit) {
      throw new OciError('UNSUPPORTED', {
        status: 413,
        message: `the message is longer than ${limit} bytes`,
        headers: { connection: 'close' },
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}
