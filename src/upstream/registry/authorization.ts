import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { UpstreamError } from '../upstream.ts'
import type { Address } from './addresses.ts'
import { MAX_CHALLENGE_LENGTH, parseChallenge, realmBelongsTo } from './challenge.ts'
import { type Credential, basicHeader, credentialId } from './credential.ts'
import type { TokenCache } from './token-cache.ts'

/** Who asks whom for what. */
export interface Asker {
  readonly address: Address
  readonly repository: Repository
  readonly credential: Credential | undefined
}

export interface Authorized {
  /** The `Authorization` header; undefined for none. */
  readonly header: string | undefined
  /** True if nothing secret went into it. */
  readonly anonymous: boolean
}

export interface AuthorizationOptions {
  readonly tokens: TokenCache
  /** Called for a credential that a registry or its token realm refused. */
  readonly credentialRefused?: ((credential: Credential) => void) | undefined
}

/** Cap on kept challenges of up to {@link MAX_CHALLENGE_LENGTH} characters each. */
const MAX_CHALLENGES = 2000
const NOTHING: Authorized = { header: undefined, anonymous: true }

/** What registries want to see before they answer. */
export class Authorization {
  readonly #options: AuthorizationOptions
  /** The header that the last answer to an asker had, so that the next request need not be refused first. */
  readonly #challenges = new LRUCache<string, string>(atMost(MAX_CHALLENGES))

  constructor(options: AuthorizationOptions) {
    this.#options = options
  }

  /** Throws UpstreamError if no token is to be had. */
  async of(asker: Asker, options: { signal: AbortSignal }): Promise<Authorized> {
    const { address, repository, credential } = asker
    const challenge = parseChallenge(this.#challenges.get(keyOf(asker)) ?? '')
    if (challenge === undefined) return NOTHING
    if (challenge.scheme === 'basic') {
      const isPassword = credential !== undefined && 'password' in credential
      return isPassword ? { header: basicHeader(credential), anonymous: false } : NOTHING
    }
    if (credential !== undefined && 'registryToken' in credential) {
      return { header: `Bearer ${credential.registryToken}`, anonymous: false }
    }
    const { realm, service } = challenge
    if (realm.protocol === 'http:' && address.url.protocol === 'https:') {
      throw new UpstreamError('denied', `${address.url.host} sends for a token to ${realm.host} without HTTPS`)
    }
    // Anybody may be asked for a token without credentials; with them only the registry's own domain is.
    const shown = realmBelongsTo(realm, address.url) ? credential : undefined
    const scope = `repository:${repository.name}:pull`
    const request = { registry: address.registry, realm, service, scope, credential: shown, namedBy: address.url }
    try {
      return { header: `Bearer ${await this.#options.tokens.get(request, options)}`, anonymous: shown === undefined }
    } catch (error) {
      const denied = error instanceof UpstreamError && error.reason === 'denied'
      if (denied && shown !== undefined) this.#options.credentialRefused?.(shown)
      throw error
    }
  }

  /** Takes note of a 401. False if it does not say what is wanted, so that there is no use in asking again. */
  refused(asker: Asker, sent: Authorized, challenge: string | undefined): boolean {
    if (sent.header !== undefined) {
      this.#options.tokens.reject(sent.header.replace(/^Bearer /, ''))
      if (!sent.anonymous && asker.credential !== undefined) this.#options.credentialRefused?.(asker.credential)
    }
    if (challenge === undefined) return false
    // Keep only what the parser reads, as a copy: a slice would keep the whole header in memory.
    this.#challenges.set(keyOf(asker), Buffer.from(challenge.slice(0, MAX_CHALLENGE_LENGTH)).toString())
    return true
  }
}

function keyOf({ address, repository, credential }: Asker): string {
  const who = credential === undefined ? 'anonymous' : credentialId(credential)
  return `${address.url.href} ${repositoryKey(repository)} ${who}`
}
