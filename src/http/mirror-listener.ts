import { createHash, timingSafeEqual } from 'node:crypto'

import type { onRequestHookHandler } from 'fastify'

import type { BlobDeliveries } from '../delivery/blobs/blob-deliveries.ts'
import type { BlobDelivery } from '../delivery/blobs/blob-delivery.ts'
import type { BlobRequest } from '../delivery/blobs/blob-request.ts'
import type { PartsDelivery } from '../delivery/blobs/part-deliveries.ts'
import { asTagged } from '../delivery/manifests/delivered-manifest.ts'
import type { Manifests } from '../delivery/manifests/manifests.ts'
import { type ClientAccess, NotShownError } from '../delivery/access/client-access.ts'
import type { TransferOrigin } from '../delivery/blobs/transfer-record.ts'
import {
  NotFetchedError,
  type RegistryPolicy,
  includesRegistry,
  whyNotMirrored,
} from '../delivery/access/registry-policy.ts'
import { type TagResolver, accepts } from '../delivery/tags/tag-resolver.ts'
import { OciError } from '../oci/errors.ts'
import { parseRanges } from '../oci/range.ts'
import type { IsMirror, Repository } from '../oci/reference.ts'
import { type OciRequest, isExplicit, parseOciRequest, tagOf } from '../oci/request.ts'
import type { PullCredential } from '../upstream/upstream.ts'
import { VERSION, VERSION_HEADER } from '../version.ts'
import {
  type BlobSending,
  sendBlob,
  sendBlobHead,
  sendBody,
  sendManifest,
  sendManifestHead,
  sendParts,
} from './answers.ts'
import { type Routes, requireRead } from './app.ts'
import { forClient, phraseOf } from './containerd-errors.ts'
import type { Exchange } from './exchange.ts'
import { type Patience, beforeDeadline, patienceOf } from './header-deadline.ts'
import { readPullCredential } from './pull-credential.ts'
import { askForLogin } from './login-challenge.ts'
import { serveListing } from './listings.ts'
import { acceptedTypes, describe } from './requests.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the mirror listener for every request that reaches its route. */
    asked: OciRequest
  }
}

export interface MirrorListenerOptions {
  /** Refuses requests of pages in browsers; see `local-guard.ts`. */
  readonly guard?: onRequestHookHandler
  readonly blobs: Pick<BlobDeliveries, 'open' | 'openRanges' | 'size' | 'isComing'>
  readonly manifests: Pick<Manifests, 'get'>
  readonly tags: Pick<TagResolver, 'resolve'>
  readonly clientAccess: Pick<ClientAccess, 'serve' | 'listing'>
  readonly policy: RegistryPolicy
  /** Token that a client must send in `Nabo-Token`; undefined if the mirror requires none. */
  readonly token: string | undefined
  readonly sending: BlobSending
  /** `--upstream-timeout` in milliseconds: how long a client without another host waits for a registry. */
  readonly upstreamTimeout: number
  /** Whether the mirror uses the credentials of clients. */
  readonly asksForLogin: boolean
  /** Whether a registry name addresses this mirror, as in `127.0.0.1:7950/ghcr.io/org/app`. */
  readonly isMirror: IsMirror
}

const TOKEN_HEADER = 'nabo-token'
/** `store`, `peer` or `upstream`. */
const SOURCE_HEADER = 'nabo-source'
/** The address of the peer. */
const PEER_HEADER = 'nabo-peer'
/** The user agent of Nabo's upstream client. */
const OWN_USER_AGENT = 'nabo'

/** The pull half of the distribution API, for containerd and other clients on this node. */
export function mirrorRoutes(options: MirrorListenerOptions): Routes {
  return (app) => {
    app.decorateRequest('asked')
    app.addHook('onRequest', ({ exchange }, _reply, done) => {
      // `nabo configure` recognises Nabo by it, so it is in refusals too.
      exchange.response.setHeader(VERSION_HEADER, VERSION)
      done()
    })
    if (options.guard !== undefined) app.addHook('onRequest', options.guard)
    app.addHook('onRequest', (request, _reply, done) => {
      if (options.token !== undefined) requireToken(options.token, request.headers[TOKEN_HEADER])
      if (request.headers['user-agent'] === OWN_USER_AGENT) {
        // Commands and checks look in this way whether Nabo listens.
        if (request.url === '/v2/') request.exchange.fields.kind = 'probe'
        throw new OciError('NOT_FOUND', { message: 'a mirror must not be its own upstream: check --upstream' })
      }
      // Parse before the method check: an invalid digest is DIGEST_INVALID for PUT too.
      request.asked = parseOciRequest(request.url, options.isMirror)
      requireRead(request)
      done()
    })
    app.route({
      method: ['GET', 'HEAD'],
      url: '/*',
      handler: ({ exchange, asked }) => serve(options, exchange, asked),
    })
  }
}

async function serve(options: MirrorListenerOptions, exchange: Exchange, asked: OciRequest): Promise<void> {
  const { request, response } = exchange
  response.setHeader('docker-distribution-api-version', 'registry/2.0')
  if (asked.type === 'base') {
    if (options.asksForLogin) askForLogin(request.headers)
    return sendBody(exchange, '{}')
  }
  describe(exchange, asked)
  response.setHeader('oci-namespace', asked.repository.registry)
  try {
    await serveContent(options, exchange, asked)
  } catch (error) {
    const excluded = isExplicit(request.url) ? whyExcluded(error, options.policy, asked.repository) : undefined
    // The client has no other host, and shows the reason of a 403 only.
    const refusal =
      excluded === undefined
        ? forClient(error, { method: request.method, userAgent: request.headers['user-agent'] })
        : new OciError('DENIED', { message: excluded, cause: error })
    if (refusal instanceof OciError) response.statusMessage = phraseOf(refusal)
    throw refusal
  }
}

type Asked<T extends OciRequest['type']> = Extract<OciRequest, { type: T }>

/** What a client has sent of itself. */
interface Client {
  readonly credential: PullCredential | undefined
  readonly patience: Patience
}

async function serveContent(
  options: MirrorListenerOptions,
  exchange: Exchange,
  asked: Exclude<OciRequest, { type: 'base' }>,
): Promise<void> {
  const why = whyNotMirrored(options.policy, { ...asked.repository, tag: tagOf(asked) })
  if (why !== undefined) {
    const cause = new NotMirroredError(why)
    throw new OciError('NAME_UNKNOWN', { message: cause.message, cause })
  }
  const { url, headers } = exchange.request
  const credential = readPullCredential(headers.authorization)
  const patience = patienceOf(url, headers['user-agent'], options.upstreamTimeout)
  switch (asked.type) {
    case 'blob':
      return serveBlob(options, exchange, asked, { credential, patience })
    case 'manifest':
      return serveManifest(options, exchange, asked, { credential, patience })
    case 'listing':
      return serveListing(exchange, asked, options.policy, (signal) =>
        beforeDeadline(
          signal,
          (signal) => options.clientAccess.listing(asked.repository, asked.pathAndQuery, credential, signal),
          { patience },
        ),
      )
  }
}

/**
 * Why this node's flags exclude the content; undefined if they do not. What a registry outside `--fallback` could not be asked is excluded too: the
 * content could not be fetched if it answered.
 */
function whyExcluded(error: unknown, policy: RegistryPolicy, { registry }: Repository): string | undefined {
  if (!(error instanceof OciError) || error.status !== 404 || error.cause === undefined) return undefined
  const { message, cause } = error
  if (cause instanceof NotFetchedError || cause instanceof NotMirroredError) return message
  if (cause instanceof NotShownError || includesRegistry(policy.fallback, registry)) return undefined
  return `${message}; ${new NotFetchedError(registry, policy).message}`
}

class NotMirroredError extends Error {
  override readonly name = 'NotMirroredError'
}

async function serveBlob(
  { blobs, clientAccess, sending }: MirrorListenerOptions,
  exchange: Exchange,
  asked: Asked<'blob'>,
  { credential, patience }: Client,
): Promise<void> {
  const { repository, digest } = asked
  const pull = { repository, kind: 'blobs', reference: digest } as const
  if (exchange.request.method === 'HEAD') {
    const size = await beforeDeadline(
      exchange.signal,
      (signal) =>
        clientAccess.serve(pull, credential, signal, (caller) => blobs.size({ repository, digest, caller }, signal)),
      { patience },
    )
    return sendBlobHead(exchange, asked.digest, size)
  }
  const opened = <T extends BlobDelivery | PartsDelivery>(
    open: (request: BlobRequest, signal: AbortSignal) => Promise<T>,
  ): Promise<T> =>
    beforeDeadline<T>(
      exchange.signal,
      (signal) =>
        clientAccess.serve(pull, credential, signal, (caller) => open({ repository, digest, caller }, signal)),
      { patience, discard: (late) => late.close(), isComing: () => blobs.isComing(digest) },
    )
  const range = parseRanges(exchange.request.headers.range)
  if (range.type === 'several') {
    const delivery = await opened((request, signal) => blobs.openRanges(request, range, signal))
    setOriginHeaders(exchange, delivery.origin)
    return sendParts(exchange, digest, delivery, sending)
  }
  const delivery = await opened((request, signal) => blobs.open(request, range, signal))
  setOriginHeaders(exchange, delivery.origin)
  return sendBlob(exchange, digest, delivery, sending)
}

async function serveManifest(
  { manifests, tags, clientAccess }: MirrorListenerOptions,
  exchange: Exchange,
  asked: Asked<'manifest'>,
  { credential, patience }: Client,
): Promise<void> {
  const { repository, reference } = asked
  const accept = acceptedTypes(exchange.request.headers.accept)
  const head = exchange.request.method === 'HEAD'
  const text = reference.type === 'digest' ? reference.digest : reference.tag
  const pull = { repository, kind: 'manifests', reference: text } as const
  const { isPatient } = patience
  const find = (signal: AbortSignal) =>
    clientAccess.serve(pull, credential, signal, async (caller) => {
      if (reference.type === 'digest') return manifests.get(repository, reference.digest, signal, caller)
      const resolved = await tags.resolve({ ...repository, tag: reference.tag }, accept, signal, caller, { isPatient })
      if (head) return resolved
      return asTagged(await manifests.get(repository, resolved.descriptor.digest, signal, caller), resolved)
    })
  const found = await beforeDeadline(exchange.signal, find, { patience })
  const { digest, mediaType } = found.descriptor
  exchange.fields.digest = digest
  if (reference.type === 'tag' && !accepts(accept, mediaType)) {
    throw new OciError('MANIFEST_UNKNOWN', {
      message: `${digest} is of type ${mediaType}, which the client does not accept`,
    })
  }
  setOriginHeaders(exchange, found)
  if (!head && 'bytes' in found) return sendManifest(exchange, found)
  exchange.fields.shares = [
    { source: found.source, bytes: 0, ...(found.peer === undefined ? {} : { peer: found.peer }) },
  ]
  return sendManifestHead(exchange, found.descriptor)
}

/** Names the source of the first bytes. Later bytes may have another source, which headers cannot tell. */
function setOriginHeaders({ response }: Exchange, { source, peer }: TransferOrigin): void {
  response.setHeader(SOURCE_HEADER, source === 'local' ? 'store' : source)
  if (peer !== undefined) response.setHeader(PEER_HEADER, peer)
}

function requireToken(expected: string, given: string | string[] | undefined): void {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  if (typeof given === 'string' && timingSafeEqual(hash(expected), hash(given))) return
  throw new OciError('DENIED', { message: 'this mirror wants a token: set the Nabo-Token header in hosts.toml' })
}
