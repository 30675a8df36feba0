import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { isRepositoryName, type Repository, repositoryKey } from '../../oci/reference.ts'
import { UpstreamError } from '../upstream.ts'
import type { Address } from './addresses.ts'
import { MAX_CHALLENGE_LENGTH, parseChallenge, realmOf } from './challenge.ts'
import { scopesOf } from './scopes.ts'
import type { TokenCache } from './token-cache.ts'

/** What is asked for: a repository at an address of its registry. */
interface Subject {
  readonly address: Address
  readonly repository: Repository
}

interface Kept {
  readonly challenge: string
  /** The last token that was sent there. */
  token?: string
}

/** Cap on kept challenges of up to {@link MAX_CHALLENGE_LENGTH} characters each. */
const MAX_KEPT = 1000
const REGISTRY_PATH = /^\/v2\/(.+)\/(?:manifests|blobs)\/[^/]+$/

/**
 * Tokens for the registries that a registry sends on to (lscr.io to ghcr.io, docker.scarf.sh to Docker Hub), one set for each of them. They are
 * tokens that anybody gets: no credential, and no token of the first registry, goes there.
 */
export class RedirectTokens {
  readonly #tokens: Pick<TokenCache, 'get' | 'reject'>
  readonly #kept = new LRUCache<string, Kept>(atMost(MAX_KEPT))

  constructor(tokens: Pick<TokenCache, 'get' | 'reject'>) {
    this.#tokens = tokens
  }

  /**
   * The `Authorization` header for a URL in another origin; undefined if no token was asked for there yet. Throws UpstreamError, never
   * `denied`: what is refused there without credentials says nothing about those who have some.
   */
  async of(subject: Subject, target: URL, options: { signal: AbortSignal }): Promise<string | undefined> {
    const key = keyOf(subject, target)
    const kept = this.#kept.get(key)
    const challenge = parseChallenge(kept?.challenge ?? '')
    if (kept === undefined || challenge?.scheme !== 'bearer') return undefined
    const { address, repository } = subject
    try {
      const realm = realmOf(challenge, target)
      const scope = scopesOf(challenge.scope, { ...repository, name: nameIn(target) ?? repository.name }, false)
      const { registry } = address
      const request = { registry, realm, service: challenge.service, scope, credential: undefined, namedBy: target }
      kept.token = await this.#tokens.get(request, options)
      return `Bearer ${kept.token}`
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      this.#kept.delete(key)
      throw error.reason === 'denied' ? notShown(subject, target, error.message) : error
    }
  }

  /** Takes note of a 401 from a URL in another origin. True if it asks for a token, so that there is use in asking again. */
  refused(subject: Subject, target: URL, header: string | undefined): boolean {
    const key = keyOf(subject, target)
    const kept = this.#kept.get(key)
    if (kept?.token !== undefined) this.#tokens.reject(kept.token)
    const challenge = parseChallenge(header ?? '')
    // Storage services name no URL in their challenges: they speak of the link.
    if (challenge?.scheme !== 'bearer' || challenge.realm === undefined) return kept?.token !== undefined
    // A copy: a slice would keep the whole header in memory.
    this.#kept.set(key, { challenge: Buffer.from((header ?? '').slice(0, MAX_CHALLENGE_LENGTH)).toString() })
    return true
  }
}

/** The failure of a registry that sends to a place which refuses clients without credentials. */
export function notShown({ address }: Subject, target: URL, why: string): UpstreamError {
  const message = `${address.url.host} sends on to ${target.host}, where Nabo sends no credentials: ${why}`
  return new UpstreamError('failed', message, { status: 401 })
}

/** The repository's name at the other registry, which may differ. */
function nameIn(target: URL): string | undefined {
  const name = REGISTRY_PATH.exec(target.pathname)?.[1]
  return name !== undefined && isRepositoryName(name) ? name : undefined
}

function keyOf({ address, repository }: Subject, target: URL): string {
  return `${address.url.href} ${repositoryKey(repository)} ${target.origin}`
}
