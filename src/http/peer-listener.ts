import type { IncomingMessage } from 'node:http'

import type { FastifyRequest, RouteOptions } from 'fastify'

import { encodeMessage } from '../contracts/message.ts'
import type { NodeContract } from '../contracts/node-contract.ts'
import { NODE_PROTOCOL, type NodeHandler, type NodeMessages } from '../contracts/node-protocol.ts'
import { type Audience, PEER } from '../delivery/access/audience.ts'
import type { BlobDeliveries } from '../delivery/blobs/blob-delivery.ts'
import type { Manifests } from '../delivery/manifests/manifests.ts'
import type { TagResolver } from '../delivery/tags/tag-resolver.ts'
import type { Transfers } from '../delivery/blobs/transfers.ts'
import { type RegistryPolicy, whyNotMirrored } from '../delivery/access/registry-policy.ts'
import { OciError, type OciErrorCode } from '../oci/errors.ts'
import { isLocalRegistry } from '../oci/local-registry.ts'
import { parseRange } from '../oci/range.ts'
import type { TagReference } from '../oci/reference.ts'
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
import { type BlobSending, sendBlob, sendBlobHead, sendBody, sendManifest, sendManifestHead } from './answers.ts'
import type { Routes } from './app.ts'
import type { Exchange } from './exchange.ts'
import { type NodeMessageParts, nodeHandlers } from './node-messages.ts'
import { describe } from './requests.ts'
import type { StrangerConnections } from './stranger-connections.ts'

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
  /** Limits what strangers may hold; absent for no limit. */
  readonly strangers?: Pick<StrangerConnections, 'recognise' | 'acceptsBody'>
}

/** This node's own content and the node protocol, for other nodes. Never asks an upstream for content. */
export function peerRoutes(options: PeerListenerOptions): Routes {
  const { keys } = options
  const handlers = nodeHandlers(options)
  const names = Object.keys(NODE_PROTOCOL) as (keyof NodeMessages)[]
  return (app) => {
    for (const name of names) {
      const contract = NODE_PROTOCOL[name] as NodeContract<unknown, unknown>
      if (keys !== undefined || contract.needsSecret !== true)
        app.route(messageRoute(keys, contract, handlers[name] as NodeHandler<NodeContract<unknown, unknown>>))
    }
    const requireProofOfRead = (request: FastifyRequest) => requireProof(keys, request.raw, new Uint8Array())
    app.addHook('onRequest', (request, _reply, done) => {
      if (request.is404) requireProofOfRead(request)
      done()
    })
    // Both hooks that check the proof come before this one, and a request without a proof ends there.
    app.addHook('preHandler', ({ raw }, _reply, done) => {
      if (keys !== undefined) options.strangers?.recognise(raw.socket)
      done()
    })
    app.addHook('preParsing', ({ raw, routeOptions }, reply, _payload, done) => {
      const longest = raw.method === 'POST' ? (routeOptions.bodyLimit ?? 0) : 0
      const bytes = Math.min(Number(raw.headers['content-length'] ?? longest), longest)
      if (bytes > 0 && options.strangers?.acceptsBody(reply.raw, bytes) === false)
        throw new OciError('UNAVAILABLE', { message: 'this node receives as many messages as it may' })
      done()
    })
    app.route({
      method: ['GET', 'HEAD'],
      url: '/*',
      onRequest: (request, _reply, done) => {
        requireProofOfRead(request)
        done()
      },
      handler: ({ exchange, raw }) => serveContent(options, exchange, audienceOf(keys, raw)),
    })
  }
}

/** The route of one message: the proof covers the body, so the body is authenticated before its schema reads it. */
function messageRoute(
  keys: PeerListenerOptions['keys'],
  { kind, path, request, answer }: NodeContract<unknown, unknown>,
  handle: NodeHandler<NodeContract<unknown, unknown>>,
): RouteOptions {
  return {
    method: 'POST',
    url: path,
    bodyLimit: request.maxBytes,
    schema: { body: request.schema },
    onRequest: ({ exchange, raw }, _reply, done) => {
      exchange.fields.kind = kind
      // Refuse before the body is read: a stranger without a proof must not make this node buffer megabytes.
      if (keys !== undefined && raw.headers.authorization === undefined) requireProof(keys, raw, new Uint8Array())
      done()
    },
    preValidation: ({ raw, body }, _reply, done) => {
      requireProof(keys, raw, (body as Uint8Array | undefined) ?? new Uint8Array())
      done()
    },
    handler: async ({ exchange, body }) =>
      sendBody(exchange, encodeMessage(answer, await handle(body, { signal: exchange.signal }))),
  }
}

async function serveContent(options: PeerListenerOptions, exchange: Exchange, audience: Audience): Promise<void> {
  const { request, response, signal } = exchange
  const asked = parseOciRequest(request.url ?? '')
  if (asked.type === 'base') return sendBody(exchange, '{}')
  if (asked.type === 'listing') throw new OciError('UNSUPPORTED', { status: 404 })
  describe(exchange, asked)
  const { repository } = asked
  // Content of a registry that this node does not mirror, or of a local registry, is neither advertised nor served to peers.
  if (whyNotMirrored(options.policy, repository.registry) !== undefined || isLocalRegistry(repository.registry))
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

/** A member's claim that its client is authorised counts only with the proof that covers it, so never in a cluster without a secret. */
function audienceOf(keys: readonly Uint8Array[] | undefined, request: IncomingMessage): Audience {
  return keys !== undefined && claimsVerified(request) ? { kind: 'peer', verified: true } : PEER
}

function claimsVerified(request: IncomingMessage): boolean {
  return request.headers[VERIFIED_HEADER] === '1'
}

function requireProof(keys: readonly Uint8Array[] | undefined, request: IncomingMessage, body: Uint8Array): void {
  if (keys === undefined) return
  const proven = { method: request.method ?? '', target: request.url ?? '', body, verified: claimsVerified(request) }
  const refusal = refuseRequest(keys, request.headers.authorization, proven)
  if (refusal !== undefined) throw new OciError('DENIED', { message: refusal })
}
