import type { IncomingMessage } from 'node:http'

import { InvalidMessage, decodeMessage, encodeMessage } from '../contracts/message.ts'
import type { NodeContract } from '../contracts/node-contract.ts'
import { NODE_PROTOCOL, type NodeMessages } from '../contracts/node-protocol.ts'
import { type Audience, PEER } from '../delivery/access/audience.ts'
import type { BlobDeliveries } from '../delivery/blobs/blob-delivery.ts'
import type { Manifests } from '../delivery/manifests/manifests.ts'
import type { TagResolver } from '../delivery/tags/tag-resolver.ts'
import type { Transfers } from '../delivery/blobs/transfers.ts'
import { type RegistryPolicy, whyNotMirrored } from '../delivery/access/registry-policy.ts'
import { OciError, type OciErrorCode } from '../oci/errors.ts'
import { isLocalRegistry } from '../oci/local-registry.ts'
import { parseRange } from '../oci/range.ts'
import { parseOciRequest } from '../oci/request.ts'
import {
  ABSENT_HEADER,
  ACCESS_HEADER,
  AS_OF_HEADER,
  BUSY_HEADER,
  MAX_PATH,
  PATH_HEADER,
  VERIFIED_HEADER,
} from '../peers/headers.ts'
import { refuseRequest } from '../peers/request-proof.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../store/content-store.ts'
import type { Admission } from './admission.ts'
import { type BlobSending, sendBlob, sendBlobHead, sendJson, sendManifest, sendManifestHead } from './answers.ts'
import type { Exchange } from './exchange.ts'
import { type NodeMessageParts, nodeHandlers } from './node-messages.ts'
import { readBody } from './read-body.ts'
import { describe, requireRead } from './requests.ts'

export interface PeerListenerOptions extends NodeMessageParts {
  readonly blobs: Pick<BlobDeliveries, 'openLocal'>
  readonly manifests: Pick<Manifests, 'getLocal' | 'holds'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly store: Pick<ContentStore, 'open' | 'resolve'>
  readonly transfers: Pick<Transfers, 'ranLately'>
  /** This node's id in the overlay. */
  readonly selfId: string
  readonly policy: RegistryPolicy
  /** The keys of the cluster's secrets; undefined in a cluster without one. */
  readonly keys: readonly Uint8Array[] | undefined
  /** The upload slots; a peer that gets none is told to ask elsewhere. */
  readonly admission: Pick<Admission, 'enter' | 'leave'>
  readonly sending: BlobSending
}

/** What other nodes talk to: this node's own content and its part of the index. Never asks an upstream for content. */
export function createPeerHandler(options: PeerListenerOptions): (exchange: Exchange) => Promise<void> {
  const messages = messageRoutes(options)
  return async (exchange) => {
    const { request } = exchange
    const message = request.method === 'POST' ? messages.get(request.url ?? '') : undefined
    if (message !== undefined) return serveMessage(options, exchange, message)
    requireProof(options.keys, request, new Uint8Array())
    requireRead(exchange)
    await serveContent(options, exchange, audienceOf(options.keys, request))
  }
}

interface MessageRoute {
  readonly contract: Pick<NodeContract<unknown, unknown>, 'kind' | 'path' | 'request'>
  /** Throws InvalidMessage for a body that breaks the contract. */
  answer(body: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
}

/** The messages that this node takes, by path. */
function messageRoutes(options: PeerListenerOptions): ReadonlyMap<string, MessageRoute> {
  const handlers = nodeHandlers(options)
  const names = Object.keys(NODE_PROTOCOL) as (keyof NodeMessages)[]
  const routes = names.map((name) => messageRoute(NODE_PROTOCOL[name] as never, handlers[name] as never))
  const taken = routes.filter(({ contract }) => options.keys !== undefined || contract.needsSecret !== true)
  return new Map(taken.map((route) => [route.contract.path, route]))
}

function messageRoute<Request, Answer>(
  contract: NodeContract<Request, Answer>,
  handle: (request: Request, options: { signal: AbortSignal }) => Answer | Promise<Answer>,
) {
  const answer = async (body: Uint8Array, signal: AbortSignal) =>
    encodeMessage(contract.answer, await handle(decodeMessage(contract.request, body), { signal }))
  return { contract, answer }
}

async function serveMessage(options: PeerListenerOptions, exchange: Exchange, message: MessageRoute): Promise<void> {
  const { kind, request } = message.contract
  exchange.fields.kind = kind
  const body = await readProven(options.keys, exchange.request, request.maxBytes)
  try {
    return await sendJson(exchange, await message.answer(body, exchange.signal))
  } catch (cause) {
    if (cause instanceof InvalidMessage)
      throw new OciError('UNSUPPORTED', { status: 400, message: cause.message, cause })
    throw cause
  }
}

async function serveContent(options: PeerListenerOptions, exchange: Exchange, audience: Audience): Promise<void> {
  const { request, response, signal } = exchange
  const asked = parseOciRequest(request.url ?? '')
  if (asked.type === 'base') return sendJson(exchange, '{}')
  if (asked.type === 'listing') throw new OciError('UNSUPPORTED', { status: 404 })
  describe(exchange, asked)
  const { repository } = asked
  // Content of a registry that this node does not mirror, or of a local registry, is neither advertised nor served to peers.
  if (whyNotMirrored(options.policy, repository.registry) !== undefined || isLocalRegistry(repository.registry))
    throw unknown(asked.type === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', true)
  const head = request.method === 'HEAD'

  if (asked.type === 'blob') {
    // Read once: a connection that has ended has no address, and the slot goes back to the one that took it.
    const { remoteAddress } = request.socket
    // A HEAD sends nothing: it takes no slot.
    if (!head && !options.admission.enter(remoteAddress)) throw busy()
    try {
      const range = head ? ({ type: 'whole' } as const) : parseRange(request.headers.range)
      const delivery = await options.blobs.openLocal(asked, range, audience, signal)
      if (delivery === undefined) throw await notHere(options, 'BLOB_UNKNOWN', asked.digest, signal)
      if (delivery.access !== undefined) response.setHeader(ACCESS_HEADER, delivery.access)
      if (delivery.path !== undefined)
        response.setHeader(PATH_HEADER, [...delivery.path.slice(1 - MAX_PATH), options.selfId].join(','))
      if (!head) return await sendBlob(exchange, asked.digest, delivery, options.sending)
      await delivery.close()
      return await sendBlobHead(exchange, asked.digest, delivery.size)
    } finally {
      if (!head) options.admission.leave(remoteAddress)
    }
  }

  if (asked.reference.type === 'tag') {
    const tag = { ...repository, tag: asked.reference.tag }
    const known = await options.tags.resolveLocal(tag, audience, signal)
    if (known === undefined)
      throw unknown('MANIFEST_UNKNOWN', (await options.store.resolve(tag, { signal })) === undefined)
    response.setHeader(AS_OF_HEADER, new Date(known.asOf).toISOString())
    return sendManifestHead(exchange, known.descriptor)
  }
  const manifest = await options.manifests.getLocal(repository, asked.reference.digest, audience, signal)
  if (manifest === undefined)
    throw unknown('MANIFEST_UNKNOWN', !(await options.manifests.holds(asked.reference.digest, signal)))
  response.setHeader(ACCESS_HEADER, manifest.access)
  return head ? sendManifestHead(exchange, manifest.descriptor) : sendManifest(exchange, manifest)
}

/**
 * A peer that only may not see it under this name must not take this node's claim for wrong, nor one that was sent here because this
 * node is getting it.
 */
async function notHere(
  options: PeerListenerOptions,
  code: OciErrorCode,
  digest: Digest,
  signal: AbortSignal,
): Promise<OciError> {
  const blob = await options.store.open(digest, { signal })
  await blob?.close()
  return unknown(code, blob === undefined && !options.transfers.ranLately(digest))
}

function unknown(code: OciErrorCode, absent: boolean): OciError {
  return new OciError(code, absent ? { headers: { [ABSENT_HEADER]: '1' } } : {})
}

function busy(): OciError {
  return new OciError('UNAVAILABLE', { message: 'this node sends as much as it may', headers: { [BUSY_HEADER]: '1' } })
}

/** A member's word that its client may see this is taken with the proof that covers it, and not in a cluster without a secret. */
function audienceOf(keys: readonly Uint8Array[] | undefined, request: IncomingMessage): Audience {
  return keys !== undefined && saysVerified(request) ? { kind: 'peer', verified: true } : PEER
}

function saysVerified(request: IncomingMessage): boolean {
  return request.headers[VERIFIED_HEADER] === '1'
}

function requireProof(keys: readonly Uint8Array[] | undefined, request: IncomingMessage, body: Uint8Array): void {
  if (keys === undefined) return
  const proven = { method: request.method ?? '', target: request.url ?? '', body, verified: saysVerified(request) }
  const refusal = refuseRequest(keys, request.headers.authorization, proven)
  if (refusal !== undefined) throw new OciError('DENIED', { message: refusal })
}

/** Without something that looks like a proof nothing is read: a stranger cannot make this node take in megabytes. */
async function readProven(
  keys: readonly Uint8Array[] | undefined,
  request: IncomingMessage,
  limit: number,
): Promise<Uint8Array> {
  if (keys !== undefined && request.headers.authorization === undefined) requireProof(keys, request, new Uint8Array())
  const body = await readBody(request, limit)
  requireProof(keys, request, body)
  return body
}
