import { DOCKER_HUB, type Repository, repositoryKey } from '../../oci/reference.ts'
import { UpstreamError, type UpstreamOptions } from '../upstream.ts'
import { parseChallenge, realmBelongsTo } from './challenge.ts'
import type { Credential, FindCredential } from './credentials.ts'
import { type HttpClient, type HttpResponse, discard } from './http-client.ts'
import { type TokenCache, basicHeader } from './token-cache.ts'

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD'
  /** Below `/v2/<name>/`, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** An answer that is a success or 404, and whether it was had without credentials. */
export interface RegistryAnswer {
  readonly response: HttpResponse
  readonly anonymous: boolean
}

/** Told of every answer, for metrics. */
export type ObserveRequest = (event: { registry: string; method: string; kind: string; outcome: string }) => void

export interface RegistrySessionOptions {
  readonly http: HttpClient
  readonly tokens: TokenCache
  /** Base URLs by registry, in the order to try; a registry that is not named is asked under its own name. */
  readonly endpoints: ReadonlyMap<string, readonly URL[]>
  readonly findCredential: FindCredential
  readonly observe: ObserveRequest
}

const MAX_AUTH_ROUNDS = 2
const MAX_REDIRECTS_REFUSED = 1
const MAX_CHALLENGES = 5000

/** Asks registries with the right address, token and credentials. */
export class RegistrySession {
  readonly #options: RegistrySessionOptions
  /** The header that the last answer to a repository asked for, so that the next request need not be refused first. */
  readonly #challenges = new Map<string, string>()

  constructor(options: RegistrySessionOptions) {
    this.#options = options
  }

  /** Answers with 200, 206 or 404. Throws UpstreamError for everything else. */
  async request(repository: Repository, asked: RegistryRequest, options: UpstreamOptions): Promise<RegistryAnswer> {
    let failure: unknown
    for (const endpoint of this.#endpointsOf(repository.registry)) {
      try {
        return await this.#requestAt(endpoint, repository, asked, options)
      } catch (error) {
        failure = error
        options.signal.throwIfAborted()
        // A denial is authoritative; the rest may go better at the next address.
        if (error instanceof UpstreamError && error.reason === 'denied') throw error
      }
    }
    throw failure
  }

  async #requestAt(
    endpoint: URL,
    repository: Repository,
    asked: RegistryRequest,
    options: UpstreamOptions,
  ): Promise<RegistryAnswer> {
    const credential = options.as === 'anonymous' ? undefined : this.#options.findCredential(repository)
    const url = new URL(`${endpoint.pathname.replace(/\/$/, '')}/v2/${repository.name}/${asked.path}`, endpoint)
    const cacheKey = `${endpoint.origin} ${repositoryKey(repository)} ${credential === undefined ? 'anonymous' : 'node'}`
    let redirectsRefused = 0
    for (let round = 0; ; round += 1) {
      const authorization = await this.#authorization(
        endpoint,
        repository,
        this.#challenges.get(cacheKey),
        credential,
        options,
      )
      const headers = authorization === undefined ? asked.headers : { ...asked.headers, authorization }
      const response = await this.#send(url, repository, { ...asked, headers }, options.signal)
      if (response.url.origin !== url.origin && [401, 403].includes(response.status)) {
        // A CDN speaks of the signature in its URL, not of our rights: the registry gives a new one.
        await discard(response)
        if (++redirectsRefused > MAX_REDIRECTS_REFUSED) {
          throw new UpstreamError('failed', `${response.url.host} answered ${response.status}`, {
            status: response.status,
          })
        }
        round -= 1
        continue
      }
      if (response.status === 401 && round < MAX_AUTH_ROUNDS - 1) {
        const challenge = response.header('www-authenticate')
        await discard(response)
        if (authorization !== undefined) this.#options.tokens.reject(authorization.replace(/^Bearer /, ''))
        if (challenge === undefined) throw refused(url, 401)
        this.#remember(cacheKey, challenge)
        continue
      }
      if ([200, 206, 404].includes(response.status)) return { response, anonymous: credential === undefined }
      await discard(response)
      throw refused(url, response.status)
    }
  }

  async #send(url: URL, repository: Repository, asked: RegistryRequest, signal: AbortSignal): Promise<HttpResponse> {
    const event = { registry: repository.registry, method: asked.method, kind: asked.path.split('/')[0] ?? '' }
    try {
      const response = await this.#options.http.request(url, {
        registry: repository.registry,
        method: asked.method,
        headers: asked.headers,
        signal,
      })
      this.#options.observe({ ...event, outcome: String(response.status) })
      return response
    } catch (error) {
      this.#options.observe({ ...event, outcome: error instanceof UpstreamError ? error.reason : 'aborted' })
      throw error
    }
  }

  async #authorization(
    endpoint: URL,
    repository: Repository,
    header: string | undefined,
    credential: Credential | undefined,
    options: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const challenge = header === undefined ? undefined : parseChallenge(header)
    if (challenge === undefined) return undefined
    if (challenge.scheme === 'basic') return credential === undefined ? undefined : basicHeader(credential)
    if (!realmBelongsTo(challenge.realm, endpoint)) {
      throw new UpstreamError(
        'denied',
        `${endpoint.host} sends for a token to ${challenge.realm.host}, which is not its own domain`,
      )
    }
    const scope = `repository:${repository.name}:pull`
    const token = await this.#options.tokens.get(
      { registry: repository.registry, realm: challenge.realm, service: challenge.service, scope, credential },
      options,
    )
    return `Bearer ${token}`
  }

  #remember(key: string, challenge: string): void {
    if (this.#challenges.size >= MAX_CHALLENGES) this.#challenges.clear()
    this.#challenges.set(key, challenge)
  }

  #endpointsOf(registry: string): readonly URL[] {
    return this.#options.endpoints.get(registry) ?? [defaultEndpoint(registry)]
  }
}

/** Registries on this machine speak plain HTTP, as every client assumes. */
function defaultEndpoint(registry: string): URL {
  if (registry === DOCKER_HUB) return new URL('https://registry-1.docker.io')
  const isLocal = /^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(registry)
  return new URL(`${isLocal ? 'http' : 'https'}://${registry}`)
}

function refused(url: URL, status: number): UpstreamError {
  const options = { status }
  if (status === 401 || status === 403)
    return new UpstreamError('denied', `${url.host} denies access: ${status}`, options)
  if (status === 429) return new UpstreamError('limited', `${url.host} limits requests: 429`, options)
  return new UpstreamError('failed', `${url.host} answered ${status}`, options)
}
