import { z } from 'zod'

import { second } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import { discard, readSmallBody } from './bodies.ts'
import { type Credential, basicHeader, isBearerToken } from './credential.ts'
import type { HttpClient, HttpResponse } from './http-client.ts'
import { parseRetryAfter } from './retry-after.ts'

export interface TokenRequest {
  readonly registry: string
  readonly realm: URL
  readonly service: string | undefined
  /** One or more, with blanks between them. */
  readonly scope: string
  /** The registry's address that named the realm: a public one may not name a private place. */
  readonly namedBy?: URL
  /** Never a registry token: that one needs no realm. */
  readonly credential: Exclude<Credential, { registryToken: string }> | undefined
}

export interface Token {
  readonly value: string
  /** Milliseconds from now. */
  readonly life: number
}

const DEFAULT_LIFE = 60 * second
const MAX_TOKEN_BYTES = 64 * 1024
const CLIENT_ID = 'nabo'

const answerSchema = z.object({
  token: z.string().optional().catch(undefined),
  access_token: z.string().optional().catch(undefined),
  // Some servers say 0 or null; what that means is what its absence means.
  expires_in: z.number().positive().optional().catch(undefined),
})

/**
 * Asks a realm for a token: GET, with Basic credentials if there are any, or the OAuth2 POST for an identity token. Throws
 * UpstreamError (`denied`, `limited`, `failed`, `unreachable`), whose message says nothing of what the realm wrote: it may repeat
 * what it was sent. https://distribution.github.io/distribution/spec/auth/oauth/
 */
export async function requestToken(
  http: HttpClient,
  request: TokenRequest,
  options: { signal: AbortSignal },
): Promise<Token> {
  const { credential } = request
  if (credential === undefined || !('identityToken' in credential)) {
    const headers = credential === undefined ? {} : { authorization: basicHeader(credential) }
    return readToken(await get(http, request, headers, options))
  }
  const response = await post(http, request, credential.identityToken, options)
  if (response.status !== 404 && response.status !== 405) return readToken(response)
  await discard(response)
  // Such a realm takes the identity token in the place of a password.
  const authorization = basicHeader({ username: credential.username, password: credential.identityToken })
  return readToken(await get(http, request, { authorization }, options))
}

function get(
  http: HttpClient,
  request: TokenRequest,
  headers: Record<string, string>,
  options: { signal: AbortSignal },
): Promise<HttpResponse> {
  const url = new URL(request.realm)
  if (request.service !== undefined) url.searchParams.set('service', request.service)
  url.searchParams.delete('scope')
  for (const scope of request.scope.split(' ')) url.searchParams.append('scope', scope)
  const { registry, namedBy } = request
  return http.request(url, { registry, method: 'GET', headers, signal: options.signal, namedBy })
}

function post(
  http: HttpClient,
  request: TokenRequest,
  identityToken: string,
  options: { signal: AbortSignal },
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: identityToken,
    client_id: CLIENT_ID,
    scope: request.scope,
  })
  if (request.service !== undefined) form.set('service', request.service)
  return http.request(request.realm, {
    registry: request.registry,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
    signal: options.signal,
    namedBy: request.namedBy,
  })
}

async function readToken(response: HttpResponse): Promise<Token> {
  const { status } = response
  const { host } = response.url
  const body = await readSmallBody(response, MAX_TOKEN_BYTES)
  if (status === 429) {
    const retryAfter = parseRetryAfter(response.header('retry-after'))
    throw new UpstreamError('limited', `${host} limits token requests`, { status, retryAfter })
  }
  // To a refresh token that is no longer good OAuth2 says 400 (RFC 6749 5.2).
  if (status === 401 || status === 403 || (status === 400 && isInvalidGrant(body))) {
    throw new UpstreamError('denied', `${host} refused a token: ${status}`, { status })
  }
  const parsed = status === 200 ? answerSchema.safeParse(parseJson(body)) : undefined
  const value = [parsed?.data?.token, parsed?.data?.access_token].find((text) => text !== undefined && text !== '')
  if (value === undefined || !isBearerToken(value)) {
    throw new UpstreamError('failed', `${host} sent no token: ${status}`, { status })
  }
  return { value, life: (parsed?.data?.expires_in ?? DEFAULT_LIFE / second) * second }
}

function isInvalidGrant(body: Uint8Array): boolean {
  return z.object({ error: z.literal('invalid_grant') }).safeParse(parseJson(body)).success
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}
