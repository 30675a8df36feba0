import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { UpstreamError } from '../upstream.ts'
import { type Address, nameAt } from './addresses.ts'
import { MAX_CHALLENGE_LENGTH, parseChallenge, realmOf } from './challenge.ts'
import { type Credential, basicHeader, credentialId } from './credential.ts'
import { explainRefusal } from './explain-refusal.ts'
import { RedirectTokens } from './redirect-tokens.ts'
import { scopesOf } from './scopes.ts'
import type { TokenCache } from './token-cache.ts'
import { TokenRealms } from './token-realms.ts'

/** Who asks whom for what. */
export interface Asker {
  readonly address: Address
  readonly repository: Repository
  readonly credential: Credential | undefined
  /** Whether the credential is this node's own, and not a client's. */
  readonly isNodes?: boolean
}

export interface Authorized {
  /** The `Authorization` header; undefined for none. */
  readonly header: string | undefined
  /** True if nothing secret went into it. */
  readonly anonymous: boolean
  /** Why the asker's credential was kept back: a refusal then says nothing about the rights of its owner. */
  readonly withheld?: string
}

export interface AuthorizationOptions {
  readonly tokens: TokenCache
  /** Only those in the domains of registries get credentials if absent. */
  readonly realms?: Pick<TokenRealms, 'trusts' | 'withhold'>
  /**
   * Called for a credential that a registry or its token realm refused. `isWrong`: whoever it belongs to, since not a token but user and
   * password were refused, and with 401, which says nothing of the repository.
   */
  readonly credentialRefused?: ((asker: Asker, credential: Credential, isWrong: boolean) => void) | undefined
}

/** Cap on kept challenges of up to {@link MAX_CHALLENGE_LENGTH} characters each. */
const MAX_CHALLENGES = 2000
const NOTHING: Authorized = { header: undefined, anonymous: true }

/** What registries want to see before they answer. */
export class Authorization {
  /** For the places that registries send on to. */
  readonly redirects: RedirectTokens
  readonly #options: AuthorizationOptions
  readonly #realms: Pick<TokenRealms, 'trusts' | 'withhold'>
  /** The header that the last answer to an asker had, so that the next request need not be refused first. */
  readonly #challenges = new LRUCache<string, string>(atMost(MAX_CHALLENGES))

  constructor(options: AuthorizationOptions) {
    this.#options = options
    this.#realms = options.realms ?? new TokenRealms([])
    this.redirects = new RedirectTokens(options.tokens)
  }

  /**
   * Throws UpstreamError if no token is to be had: `denied` only for a realm's own refusal of what it was shown. What Nabo does not ask, and
   * a credential that it keeps back, are `failed`: they say nothing about whether an image is public.
   */
  async of(asker: Asker, options: { signal: AbortSignal }): Promise<Authorized> {
    try {
      return await this.#following(asker, options)
    } catch (error) {
      // The next request shows the registry no token and is told anew where to get one: something in front of the registry may have spoken.
      if (error instanceof UpstreamError) this.#challenges.delete(keyOf(asker))
      throw error
    }
  }

  async #following(asker: Asker, options: { signal: AbortSignal }): Promise<Authorized> {
    const { address, repository, credential } = asker
    const challenge = parseChallenge(this.#challenges.get(keyOf(asker)) ?? '')
    if (challenge === undefined) return NOTHING
    if (challenge.scheme === 'basic') {
      if (credential === undefined) return NOTHING
      return 'password' in credential
        ? { header: basicHeader(credential), anonymous: false }
        : { ...NOTHING, withheld: `${address.url.host} wants a password, and the credential is a token` }
    }
    if (credential !== undefined && 'registryToken' in credential) {
      return { header: `Bearer ${credential.registryToken}`, anonymous: false }
    }
    const realm = realmOf(challenge, address.url)
    const { service } = challenge
    // Anybody may be asked for a token without credentials; with them only the registry's own domain is, and what the operator allows.
    const shown = credential !== undefined && this.#realms.trusts(realm, address) ? credential : undefined
    const withheld = credential === shown ? {} : { withheld: this.#realms.withhold(realm, address) }
    const there = { ...repository, name: nameAt(address, repository) }
    const scope = scopesOf(challenge.scope, there, shown !== undefined)
    const request = { registry: address.registry, realm, service, scope, credential: shown, namedBy: address.url }
    try {
      const token = await this.#options.tokens.get(request, options)
      return { header: `Bearer ${token}`, anonymous: shown === undefined, ...withheld }
    } catch (error) {
      const denied = error instanceof UpstreamError && error.reason === 'denied'
      if (!denied) throw error
      const isWrong = shown !== undefined && error.status === 401
      if (shown !== undefined) this.#options.credentialRefused?.(asker, shown, isWrong)
      throw asVerdict(explainRefusal(error, { ...asker, credential: shown }, isWrong), withheld)
    }
  }

  /** Takes note of a 401 to a user and password. False if it was an answer to something else. */
  passwordRefused(asker: Asker, sent: Authorized): boolean {
    const { credential } = asker
    if (!isPassword(sent) || credential === undefined) return false
    this.#options.credentialRefused?.(asker, credential, true)
    return true
  }

  /**
   * Takes note of a 401. False if there is no use in asking again: it does not say what is wanted, and no earlier 401 did. At the end of a
   * token's life some registries leave the challenge out; the last one then still says where to get a token.
   */
  refused(asker: Asker, sent: Authorized, challenge: string | undefined): boolean {
    if (sent.header !== undefined) {
      this.#options.tokens.reject(sent.header.replace(/^Bearer /, ''))
      const { credential } = asker
      if (!this.passwordRefused(asker, sent) && !sent.anonymous && credential !== undefined)
        this.#options.credentialRefused?.(asker, credential, false)
    }
    const parsed = parseChallenge(challenge ?? '')
    if (challenge === undefined || parsed === undefined)
      return isToken(asker, sent) && this.#challenges.has(keyOf(asker))
    // Keep only what the parser reads, as a copy: a slice would keep the whole header in memory.
    this.#challenges.set(keyOf(asker), Buffer.from(challenge.slice(0, MAX_CHALLENGE_LENGTH)).toString())
    return parsed.scheme === 'bearer' || (asker.credential !== undefined && sent.header === undefined)
  }
}

/** Whether the request carried a user and password. */
export function isPassword({ header, anonymous }: Authorized): boolean {
  return header?.startsWith('Basic ') === true && !anonymous
}

/** True for a header with a token that a realm gave, which can give another one. */
function isToken({ credential }: Asker, { header }: Authorized): boolean {
  const isOwn = credential !== undefined && 'registryToken' in credential
  return header?.startsWith('Bearer ') === true && !isOwn
}

/** A registry's refusal as a verdict on the asker; `failed` where the asker's credential was kept back. */
export function asVerdict(refusal: UpstreamError, { withheld }: Pick<Authorized, 'withheld'>): UpstreamError {
  if (refusal.reason !== 'denied' || withheld === undefined) return refusal
  const message = `the credentials were not sent, since ${withheld}; without them ${refusal.brief}`
  return new UpstreamError('failed', message, refusal.status === undefined ? {} : { status: refusal.status })
}

function keyOf({ address, repository, credential }: Asker): string {
  const who = credential === undefined ? 'anonymous' : credentialId(credential)
  return `${address.url.href} ${repositoryKey(repository)} ${who}`
}
