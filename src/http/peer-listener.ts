import type { RouteOptions } from 'fastify'

import { BODY_HEADER, hashBody } from '../authentication/proofs.ts'
import type { MessageSender } from '../membership/message-sender.ts'
import { encodeMessage } from '../contracts/message.ts'
import type { NodeContract } from '../contracts/node-contract.ts'
import { NODE_PROTOCOL, type NodeHandler, type NodeMessages } from '../contracts/node-protocol.ts'
import { type Audience, PEER } from '../delivery/access/audience.ts'
import type { BlobDeliveries } from '../delivery/blobs/blob-deliveries.ts'
import type { Manifests } from '../delivery/manifests/manifests.ts'
import type { TagResolver } from '../delivery/tags/tag-resolver.ts'
import type { Transfers } from '../delivery/blobs/transfers.ts'
import { type RegistryPolicy, whyNotMirrored } from '../delivery/access/registry-policy.ts'
import { OciError, type OciErrorCode } from '../oci/errors.ts'
import { isLocalRegistry } from '../oci/local-registry.ts'
import { parseRange } from '../oci/range.ts'
import type { TagReference } from '../oci/reference.ts'
import { parseOciRequest, tagOf } from '../oci/request.ts'
import {
  ABSENT_HEADER,
  ACCESS_HEADER,
  AS_OF_HEADER,
  BUSY_HEADER,
  MAX_PATH,
  PATH_HEADER,
  VERIFIED_HEADER,
} from '../peers/headers.ts'
import type { Digest } from '../oci/digest.ts'
import type { ContentStore } from '../store/content-store.ts'
import type { Admission } from './admission.ts'
import { type BlobSending, sendBlob, sendBlobHead, sendBody, sendManifest, sendManifestHead } from './answers.ts'
import type { Routes } from './app.ts'
import type { Exchange } from './exchange.ts'
import { type NodeMessageParts, nodeHandlers } from './node-messages.ts'
import { type PeerAuthenticationOptions, authenticate, requireProvenBody } from './peer-authentication.ts'
import { describe } from './requests.ts'
import type { StrangerConnections } from './stranger-connections.ts'

export interface PeerListenerOptions extends NodeMessageParts, PeerAuthenticationOptions {
  readonly blobs: Pick<BlobDeliveries, 'openLocal'>
  readonly manifests: Pick<Manifests, 'getLocal' | 'holds'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly store: Pick<ContentStore, 'open' | 'resolve'>
  readonly transfers: Pick<Transfers, 'ranLately'>
  /** This node's id in the overlay. */
  readonly selfId: string
  readonly policy: RegistryPolicy
  /** The upload slots; a peer that gets none is told to ask elsewhere. */
  readonly admission: Pick<Admission, 'enter' | 'leave'>
  readonly sending: BlobSending
  /** Limits strangers' connections and the bodies that they send; absent for no limit. */
  readonly strangers?: Pick<StrangerConnections, 'recognise' | 'acceptsBody'>
}

/** This node's own content and the node protocol, for other nodes. Never asks an upstream for content. */
export function peerRoutes(options: PeerListenerOptions): Routes {
  const { hasSecret } = options
  const handlers = nodeHandlers(options)
  const names = Object.keys(NODE_PROTOCOL) as (keyof NodeMessages)[]
  return (app) => {
    app.decorateRequest('authenticated')
    app.addHook('onRequest', (request, reply, done) => {
      authenticate(request, reply, options)
      if (hasSecret) options.strangers?.recognise(request.raw.socket)
      done()
    })
    app.addHook('preParsing', ({ raw, routeOptions }, reply, _payload, done) => {
      const longest = raw.method === 'POST' ? (routeOptions.bodyLimit ?? 0) : 0
      const bytes = Math.min(Number(raw.headers['content-length'] ?? longest), longest)
      if (bytes > 0 && options.strangers?.acceptsBody(reply.raw, bytes) === false)
        throw new OciError('UNAVAILABLE', {
          message: 'this node receives as many bytes of messages as it accepts at a time: send the message again later',
        })
      done()
    })
    for (const name of names) {
      const contract = NODE_PROTOCOL[name] as NodeContract<unknown, unknown>
      if (hasSecret || contract.needsSecret !== true)
        app.route(messageRoute(contract, handlers[name] as NodeHandler<NodeContract<unknown, unknown>>))
    }
    app.route({
      method: ['GET', 'HEAD'],
      url: '/*',
      handler: ({ exchange, authenticated, raw }) => {
        const isVerified = raw.headers[VERIFIED_HEADER] === '1'
        return serveContent(options, exchange, audienceOf(options, authenticated?.sender, isVerified))
      },
    })
  }
}

/** The route of one message: its sender and its body are authentic before its schema reads the body. */
function messageRoute(
  { kind, path, request, answer }: NodeContract<unknown, unknown>,
  handle: NodeHandler<NodeContract<unknown, unknown>>,
): RouteOptions {
  return {
    method: 'POST',
    url: path,
    bodyLimit: request.maxBytes,
    schema: { body: request.schema },
    preValidation: (request, _reply, done) => {
      request.exchange.fields.kind = kind
      requireProvenBody(request)
      done()
    },
    handler: async ({ exchange, body, authenticated }) => {
      if (authenticated === undefined) throw new OciError('DENIED')
      const options = { from: authenticated.sender, signal: exchange.signal }
      const bytes = encodeMessage(answer, await handle(body, options))
      sendBody(exchange, bytes, { [BODY_HEADER]: hashBody(bytes) })
    },
  }
}

async function serveContent(options: PeerListenerOptions, exchange: Exchange, audience: Audience): Promise<void> {
  const { request, response, signal } = exchange
  const asked = parseOciRequest(request.url ?? '')
  if (asked.type === 'base') return sendBody(exchange, '{}')
  if (asked.type === 'listing') throw new OciError('UNSUPPORTED', { status: 404 })
  describe(exchange, asked)
  const { repository } = asked
  // Content of an image that this node does not mirror, or of a local registry, is neither advertised nor served to peers.
  const image = { ...repository, tag: tagOf(asked) }
  if (whyNotMirrored(options.policy, image) !== undefined || isLocalRegistry(repository.registry))
    throw unknown(asked.type === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', true)
  const head = request.method === 'HEAD'

  if (asked.type === 'blob') {
    // Read once: a connection that has ended has no address, and the slot must return to the address that took it.
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
      return sendBlobHead(exchange, asked.digest, delivery.size)
    } finally {
      if (!head) options.admission.leave(remoteAddress)
    }
  }

  const digest =
    asked.reference.type === 'digest'
      ? asked.reference.digest
      : await resolveTag(options, exchange, { ...repository, tag: asked.reference.tag }, audience)
  if (digest === undefined) return
  const manifest = await options.manifests.getLocal(repository, digest, audience, signal)
  if (manifest === undefined) throw unknown('MANIFEST_UNKNOWN', !(await options.manifests.holds(digest, signal)))
  response.setHeader(ACCESS_HEADER, manifest.access)
  // Else bytes that were changed on the way would look like this node's lie, and cost it its place as a source.
  if (!head && request.headers.range === undefined) response.setHeader(BODY_HEADER, hashBody(manifest.bytes))
  return head ? sendManifestHead(exchange, manifest.descriptor) : sendManifest(exchange, manifest)
}

/** The digest that a tag names here; undefined for a HEAD, which is answered here: peers then ask for the manifest by its digest. */
async function resolveTag(
  options: PeerListenerOptions,
  exchange: Exchange,
  tag: TagReference,
  audience: Audience,
): Promise<Digest | undefined> {
  const { request, response, signal } = exchange
  const known = await options.tags.resolveLocal(tag, audience, signal)
  if (known === undefined)
    throw unknown('MANIFEST_UNKNOWN', (await options.store.resolve(tag, { signal })) === undefined)
  response.setHeader(AS_OF_HEADER, new Date(known.asOf).toISOString())
  response.setHeader(ACCESS_HEADER, known.access)
  if (request.method !== 'HEAD') return known.descriptor.digest
  sendManifestHead(exchange, known.descriptor)
  return undefined
}

/**
 * The refusal of a blob. It says `absent`, on which the peer drops this node's claim, only if the blob is neither held under another name
 * nor on its way to this node.
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

/** A member's claim that its client is authorised counts in a cluster with a secret only: elsewhere everybody can be a member. */
function audienceOf({ hasSecret }: PeerListenerOptions, sender: MessageSender | undefined, claims: boolean): Audience {
  return hasSecret && sender !== undefined && claims ? { kind: 'peer', verified: true } : PEER
}
