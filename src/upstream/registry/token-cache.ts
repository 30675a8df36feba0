import { LRUCache } from 'lru-cache'

import { abortable } from '../../time/deadline.ts'
import { hour, second } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import { credentialId } from './credential.ts'
import type { HttpClient } from './http-client.ts'
import { type TokenRequest, requestToken } from './token-request.ts'

/** A token is not used in its last seconds: it must survive the request that carries it. */
const MARGIN = 10 * second
const MAX_TOKENS = 2000
/** Cap on the length of all tokens together. A registry's token has a few thousand characters. */
const MAX_CHARACTERS = 8 * 1024 * 1024
/** Registries issue tokens for minutes. */
const MAX_LIFE = 1 * hour

/** Bearer tokens by registry, realm, service, scope and credential, kept until shortly before they expire; callers share a fetch. */
export class TokenCache {
  readonly #http: HttpClient
  readonly #now: () => number
  readonly #tokens = new LRUCache<string, { value: string; until: number }>({
    max: MAX_TOKENS,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: ({ value }, key) => value.length + key.length,
  })
  readonly #pending = new Map<string, Promise<string>>()

  /** `now` in milliseconds, monotonic: a wall clock that is set back would keep expired tokens. */
  constructor(http: HttpClient, now: () => number = () => performance.now()) {
    this.#http = http
    this.#now = now
  }

  /** Throws UpstreamError (`denied`, `limited`, `failed`, `unreachable`). */
  async get(request: TokenRequest, options: { signal: AbortSignal }): Promise<string> {
    const { registry, realm, service, scope, credential } = request
    // By registry: it decides which addresses and certificate authorities are accepted for a realm.
    const key = JSON.stringify([registry, realm.href, service, scope, credential && credentialId(credential)])
    const held = this.#tokens.get(key)
    if (held !== undefined && held.until > this.#now()) return held.value
    this.#tokens.delete(key)
    const pending = this.#pending.get(key)
    // A shared fetch dies with its first caller's signal; whoever only waited for it then asks again.
    if (pending !== undefined)
      return abortable(pending, options.signal).catch((error: unknown) => {
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
    for (const [key, token] of [...this.#tokens.entries()]) if (token.value === value) this.#tokens.delete(key)
  }

  async #fetch(key: string, request: TokenRequest, options: { signal: AbortSignal }): Promise<string> {
    const { value, life } = await requestToken(this.#http, request, options)
    const until = this.#now() + Math.min(Math.max(life - MARGIN, life / 2), MAX_LIFE)
    this.#tokens.set(key, { value, until })
    return value
  }
}
