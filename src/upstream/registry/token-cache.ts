import { z } from 'zod'

import { second } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import type { Credential } from './credentials.ts'
import { readBounded, type HttpClient } from './http-client.ts'

export interface TokenRequest {
  readonly registry: string
  readonly realm: URL
  readonly service: string | undefined
  readonly scope: string
  readonly credential: Credential | undefined
}

const DEFAULT_LIFE = 60 * second
/** A token is not used in its last seconds: it must survive the request that carries it. */
const MARGIN = 10 * second
const MAX_TOKENS = 2000
const MAX_TOKEN_BYTES = 64 * 1024

const answerSchema = z.object({
  token: z.string().optional().catch(undefined),
  access_token: z.string().optional().catch(undefined),
  // Some servers say 0 or null; what that means is what its absence means.
  expires_in: z.number().positive().optional().catch(undefined),
})

/** Bearer tokens by realm, service, scope and user, kept until shortly before they expire and fetched once for many. */
export class TokenCache {
  readonly #http: HttpClient
  readonly #tokens = new Map<string, { value: string; until: number }>()
  readonly #pending = new Map<string, Promise<string>>()

  constructor(http: HttpClient) {
    this.#http = http
  }

  /** Throws UpstreamError (`denied`, `limited`, `failed`, `unreachable`). */
  async get(request: TokenRequest, options: { signal: AbortSignal }): Promise<string> {
    const key = JSON.stringify([request.realm.href, request.service, request.scope, request.credential])
    const held = this.#tokens.get(key)
    if (held !== undefined && held.until > Date.now()) return held.value
    this.#tokens.delete(key)
    const pending = this.#pending.get(key)
    // A shared fetch dies with its first caller's signal; whoever only waited for it then asks again.
    if (pending !== undefined)
      return pending.catch((error: unknown) => {
        if (options.signal.aborted || error instanceof UpstreamError) throw error
        return this.get(request, options)
      })
    const fetching = this.#fetch(key, request, options)
    this.#pending.set(key, fetching)
    try {
      return await fetching
    } finally {
      this.#pending.delete(key)
    }
  }

  /** Forgets a token that a registry did not accept. */
  reject(value: string): void {
    for (const [key, token] of this.#tokens) if (token.value === value) this.#tokens.delete(key)
  }

  async #fetch(key: string, request: TokenRequest, options: { signal: AbortSignal }): Promise<string> {
    const url = new URL(request.realm)
    if (request.service !== undefined) url.searchParams.set('service', request.service)
    url.searchParams.set('scope', request.scope)
    const response = await this.#http.request(url, {
      registry: request.registry,
      method: 'GET',
      headers: request.credential === undefined ? {} : { authorization: basicHeader(request.credential) },
      signal: options.signal,
    })
    const body = await readBounded(response, MAX_TOKEN_BYTES)
    if (response.status === 401 || response.status === 403) {
      throw new UpstreamError('denied', `${url.host} refused a token: ${response.status}`, { status: response.status })
    }
    if (response.status === 429)
      throw new UpstreamError('limited', `${url.host} limits token requests`, { status: 429 })
    const parsed = response.status === 200 ? answerSchema.safeParse(parseJson(body)) : undefined
    const value = parsed?.data?.token ?? parsed?.data?.access_token
    if (value === undefined || value === '') {
      throw new UpstreamError('failed', `${url.host} sent no token: ${response.status}`, { status: response.status })
    }
    const life = (parsed?.data?.expires_in ?? DEFAULT_LIFE / second) * second
    this.#keep(key, value, Date.now() + Math.max(life - MARGIN, life / 2))
    return value
  }

  #keep(key: string, value: string, until: number): void {
    const oldest = this.#tokens.size >= MAX_TOKENS ? this.#tokens.keys().next().value : undefined
    if (oldest !== undefined) this.#tokens.delete(oldest)
    this.#tokens.set(key, { value, until })
  }
}

export function basicHeader(credential: Credential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}
