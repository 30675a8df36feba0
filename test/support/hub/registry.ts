import type { IncomingMessage, ServerResponse } from 'node:http'

import { parseDigest } from '../../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts'
import type { Catalog } from './catalog.ts'
import type { FaultState } from './faults.ts'
import type { Ledger } from './ledger.ts'
import { type Quota, clientOf } from './quota.ts'
import { sendJson, sendOciError, sendText } from './respond.ts'
import { TOKEN_SERVICE, type Tokens } from './tokens.ts'

export interface RegistryParts {
  readonly catalog: Catalog
  readonly faults: FaultState
  readonly ledger: Ledger
  readonly quota: Quota
  /** undefined: no tokens wanted. */
  readonly tokens: Tokens | undefined
  readonly realm: () => string
  /** A fresh signed URL of a blob. */
  readonly signedUrl: (digest: string) => string
}

interface Call {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly url: URL
  readonly name: string
  readonly user: string | undefined
}

/** Answers the registry's requests. Returns whom the request was made for. */
export function answerRegistry(parts: RegistryParts, req: IncomingMessage, res: ServerResponse): string | undefined {
  const url = new URL(req.url ?? '/', 'http://hub')
  const limited = parts.faults.now.limited === 'abuse'
  if (parts.quota.isAbuse(clientOf(req)) || limited) {
    parts.ledger.count('limited')
    sendText(req, res, 429, 'Too Many Requests', { 'retry-after': '60' })
    return undefined
  }
  res.setHeader('docker-distribution-api-version', 'registry/2.0')
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    sendOciError(req, res, 405, 'UNSUPPORTED', 'The operation is unsupported.')
    return undefined
  }
  if (url.pathname === '/v2/' || url.pathname === '/v2') return answerPing(parts, req, res)
  const match = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(decodeURIComponent(url.pathname))
  if (match === null) {
    sendText(req, res, 404, '404 page not found\n')
    return undefined
  }
  const [, name = '', kind, last = ''] = match
  const verdict = authorise(parts, req, res, name)
  if (verdict === 'refused') return undefined
  const call = { req, res, url, name, user: verdict.user }
  if (!parts.catalog.has(name)) sendOciError(req, res, 404, 'NAME_UNKNOWN', 'repository name not known to registry')
  else if (kind === 'manifests') answerManifest(parts, call, last)
  else if (kind === 'blobs') answerBlob(parts, call, last)
  else if (kind === 'referrers') answerReferrers(parts, call, last)
  else answerTags(parts, call, last)
  return verdict.user
}

function answerPing(parts: RegistryParts, req: IncomingMessage, res: ServerResponse): string | undefined {
  parts.ledger.count('pings')
  const verdict = parts.tokens?.check(req)
  if (verdict !== undefined && verdict.type !== 'valid') {
    const challenge = `Bearer realm="${parts.realm()}",service="${TOKEN_SERVICE}"`
    sendOciError(req, res, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': challenge })
    return undefined
  }
  sendJson(req, res, 200, {})
  return verdict?.grant.user
}

function authorise(
  parts: RegistryParts,
  req: IncomingMessage,
  res: ServerResponse,
  name: string,
): { user: string | undefined } | 'refused' {
  const verdict = parts.tokens?.check(req)
  if (verdict === undefined) return { user: undefined }
  if (verdict.type === 'valid' && verdict.grant.mayPull.includes(name)) return { user: verdict.grant.user }
  const errors = { missing: '', invalid: ',error="invalid_token"', valid: ',error="insufficient_scope"' }
  const scope = `scope="repository:${name}:pull"`
  const challenge = `Bearer realm="${parts.realm()}",service="${TOKEN_SERVICE}",${scope}${errors[verdict.type]}`
  sendOciError(req, res, 401, 'UNAUTHORIZED', 'authentication required', { 'www-authenticate': challenge })
  return 'refused'
}

function answerManifest(parts: RegistryParts, { req, res, name, user }: Call, reference: string): void {
  if (req.method === 'HEAD') parts.ledger.count('manifestHeads')
  const exhausted = parts.quota.writeHeaders(res, clientOf(req), user) || parts.faults.now.limited === 'quota'
  if (exhausted && req.method === 'GET') {
    parts.ledger.count('limited')
    const message = 'You have reached your pull rate limit. https://www.docker.com/increase-rate-limit'
    return sendOciError(req, res, 429, 'TOOMANYREQUESTS', message)
  }
  if (reference.includes(':') && parseDigest(reference) === undefined) {
    return sendOciError(req, res, 400, 'DIGEST_INVALID', 'provided digest did not match uploaded content')
  }
  const manifest = parts.catalog.manifest(name, reference)
  if (manifest === undefined || !accepts(req.headers.accept, manifest.descriptor.mediaType)) {
    return sendOciError(req, res, 404, 'MANIFEST_UNKNOWN', 'manifest unknown')
  }
  if (req.method === 'GET') {
    parts.ledger.count('manifestGets')
    parts.quota.take(clientOf(req), user)
    parts.quota.writeHeaders(res, clientOf(req), user)
  }
  const { digest, mediaType, size } = manifest.descriptor
  res.writeHead(200, {
    'content-type': mediaType,
    'content-length': size,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  })
  res.end(req.method === 'HEAD' ? undefined : manifest.bytes)
}

/** Docker Hub sends blobs by its CDN only, HEAD included. */
function answerBlob(parts: RegistryParts, { req, res, name }: Call, text: string): void {
  if (req.method === 'HEAD') parts.ledger.count('blobHeads')
  const digest = parseDigest(text)
  if (digest === undefined) return sendOciError(req, res, 400, 'DIGEST_INVALID', 'invalid digest')
  if (parts.catalog.blob(name, digest) === undefined) {
    return sendOciError(req, res, 404, 'BLOB_UNKNOWN', 'blob unknown to registry')
  }
  if (req.method === 'GET') parts.ledger.count('redirects')
  sendText(req, res, 307, '', { location: parts.signedUrl(digest), 'docker-content-digest': digest })
}

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
function answerTags(parts: RegistryParts, { req, res, url, name }: Call, last: string): void {
  if (last !== 'list') return sendText(req, res, 404, '404 page not found\n')
  parts.ledger.count('listings')
  const after = url.searchParams.get('last')
  const n = url.searchParams.get('n')
  const all = parts.catalog.tags(name).filter((tag) => after === null || tag > after)
  const tags = n === null ? all : all.slice(0, Number(n))
  const headers: Record<string, string> = {}
  if (tags.length < all.length && tags.length > 0) {
    const next = new URLSearchParams({ last: tags.at(-1) ?? '', n: n ?? '' })
    headers['link'] = `</v2/${name}/tags/list?${next.toString()}>; rel="next"`
  }
  sendJson(req, res, 200, { name, tags }, headers)
}

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
function answerReferrers(parts: RegistryParts, { req, res, url, name }: Call, text: string): void {
  parts.ledger.count('listings')
  if (parseDigest(text) === undefined) return sendOciError(req, res, 400, 'DIGEST_INVALID', 'invalid digest')
  const type = url.searchParams.get('artifactType')
  const manifests = parts.catalog.referrers(name, text).filter((item) => type === null || item.artifactType === type)
  sendJson(
    req,
    res,
    200,
    { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests },
    {
      'content-type': MEDIA_TYPES.ociIndex,
      ...(type === null ? {} : { 'oci-filters-applied': 'artifactType' }),
    },
  )
}

/** A client that says nothing takes anything. */
function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined) return true
  const types = header.split(',').map((item) => (item.split(';')[0] ?? '').trim())
  return types.some((type) => type === mediaType || type === '*/*' || type === 'application/*')
}
