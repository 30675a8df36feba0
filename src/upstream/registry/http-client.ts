import { type Dispatcher, request } from 'undici'

import type { Log } from '../../telemetry/log.ts'
import { PacedWarnings } from '../../telemetry/paced-warnings.ts'
import { UpstreamError } from '../upstream.ts'
import { discard } from './bodies.ts'
import { AddressRefusedError, Connections, type Network, type Reach, SYSTEM_NETWORK } from './connections.ts'
import { onSent } from './on-sent.ts'
import type { ChooseProxy } from './proxies.ts'
import { type RegistryTls, USUAL_TLS } from './tls/registry-tls.ts'
import { tlsFailureOf } from './tls/tls-failure.ts'

export interface HttpResponse {
  readonly status: number
  /** Of the URL that answered in the end. Its query may be a signature: never to be shown. */
  readonly url: URL
  header(name: string): string | undefined
  readonly body: Dispatcher.ResponseData['body']
}

export interface HttpRequest {
  /**
   * The registry on whose behalf the request is sent, also to token realms and CDNs: its certificates count, and local addresses are allowed if the operator has named it.
   */
  readonly registry: string
  /** A POST asks for a token: it may be repeated. */
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  /** Of a POST. It may hold a secret, so a POST follows no redirect: whatever comes is its answer. */
  readonly body?: string
  readonly signal: AbortSignal
  /** Who named the URL, if that was a registry: a public one may not name a private place. */
  readonly namedBy?: URL | undefined
  /** Called when the request has a connection to the URL itself. */
  readonly onSent?: () => void
  /** The `Authorization` header for a URL in another origin that a redirect names; none if absent or undefined. */
  readonly authorizeAt?: (target: URL) => Promise<string | undefined>
  /** Told of the status of the URL itself, before redirects are followed. */
  readonly onAnswer?: (status: number) => void
}

/** Asks registries, their token realms and their CDNs. Throws UpstreamError `unreachable` when no header comes. */
export interface HttpClient {
  request(url: URL, options: HttpRequest): Promise<HttpResponse>
  close(): Promise<void>
}

const MAX_REDIRECTS = 5
const USER_AGENT = 'nabo'
const REDIRECTS = [301, 302, 303, 307, 308]

export interface HttpClientOptions {
  /** For a TCP and TLS connection, and then for the header, in milliseconds. */
  readonly headerTimeout: number
  /** The longest silence inside a body, in milliseconds. */
  readonly idleTimeout: number
  /** What Node trusts, and no client certificates, if absent. */
  readonly tls?: Pick<RegistryTls, 'settings'>
  readonly log?: Pick<Log, 'warn'>
  /** None if absent. */
  readonly proxyFor?: ChooseProxy
  /** This machine's if absent. */
  readonly network?: Network
  /** Whether the operator has named a registry: only named registries may be at local addresses. All are named if absent. */
  readonly isNamed?: (registry: string) => boolean
}

/** An HTTP client over undici that follows redirects, drops `Authorization` when the origin changes, and minds where it is sent. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  return new RedirectingClient(options)
}

class RedirectingClient implements HttpClient {
  readonly #connections: Connections
  readonly #timeouts: { readonly headersTimeout: number; readonly bodyTimeout: number }
  readonly #isNamed: (registry: string) => boolean
  readonly #tls: Pick<RegistryTls, 'settings'> | undefined
  readonly #warnings: PacedWarnings<string>

  constructor(options: HttpClientOptions) {
    const { headerTimeout, idleTimeout, proxyFor = () => undefined, network = SYSTEM_NETWORK } = options
    this.#connections = new Connections({ connectTimeout: headerTimeout, proxyFor, network })
    this.#timeouts = { headersTimeout: headerTimeout, bodyTimeout: idleTimeout }
    this.#isNamed = options.isNamed ?? (() => true)
    this.#tls = options.tls
    this.#warnings = new PacedWarnings(options.log ?? { warn: () => {} })
  }

  async request(start: URL, asked: HttpRequest): Promise<HttpResponse> {
    let url = start
    let headers: Record<string, string> = { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', ...asked.headers }
    let reach = this.#reachOf(asked)
    // Of the answer that sends here; an address names the realm of its tokens with 401.
    let status = asked.namedBy === undefined ? undefined : 401
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const { onSent: _, ...followed } = { ...asked, headers }
      const response = await this.#send(url, hop === 0 ? { ...asked, headers } : followed, { reach, status })
      if (hop === 0) asked.onAnswer?.(response.status)
      const location = asked.method === 'POST' ? undefined : redirectOf(response, url)
      if (location === undefined) return response
      await discard(response)
      status = response.status
      if (location.origin !== url.origin) {
        const authorization = await asked.authorizeAt?.(location)
        headers = { ...withoutAuthorization(headers), ...(authorization === undefined ? {} : { authorization }) }
      }
      // A registry that is private itself may send on within its network, until the public is met.
      if (!this.#connections.isPrivate(url)) reach = 'public'
      url = location
    }
    throw new UpstreamError('failed', `${start.host} redirected more than ${MAX_REDIRECTS} times`, { status })
  }

  close(): Promise<void> {
    return this.#connections.close()
  }

  /** A client may name any registry: unless a flag names it, Nabo must not probe services of this machine for the client. */
  #reachOf({ registry, namedBy }: HttpRequest): Reach {
    if (namedBy !== undefined && !this.#connections.isPrivate(namedBy)) return 'public'
    return this.#isNamed(registry) ? 'anything' : 'remote'
  }

  async #send(
    url: URL,
    asked: HttpRequest,
    { reach, status }: { reach: Reach; status: number | undefined },
  ): Promise<HttpResponse> {
    try {
      const { statusCode, headers, body } = await this.#sendTwice(url, asked, reach)
      // A body that ends badly after its reader has gone is nobody's error.
      body.on('error', () => {})
      return {
        status: statusCode,
        url,
        body,
        header: (name) => {
          const value = headers[name]
          return Array.isArray(value) ? value.join(', ') : value
        },
      }
    } catch (cause) {
      asked.signal.throwIfAborted()
      if (cause instanceof AddressRefusedError)
        throw new UpstreamError('failed', refusalText(cause.reach, url, asked.registry), { cause, status })
      throw new UpstreamError('unreachable', `${url.host} cannot be reached`, {
        cause: this.#tlsFailure(cause, asked.registry, url) ?? cause,
      })
    }
  }

  /** Logs it: no other message names the cause where a registry is only asked with HEAD, for tags and proofs. */
  #tlsFailure(cause: unknown, registry: string, { host }: URL) {
    const failure = tlsFailureOf(cause, { registry, host })
    if (failure !== undefined)
      this.#warnings.warn(host, 'a registry cannot be asked over TLS', () => ({
        registry,
        host,
        err: failure.message,
        fix: failure.fix,
      }))
    return failure
  }

  /**
   * Once more on a new connection if a kept one ends before the first byte of an answer: its peer may have closed it while it was idle. The peer may
   * also have acted on the request. RFC 9110 9.2.2 allows to repeat a POST where that does no harm, and a second token does none.
   */
  async #sendTwice(url: URL, asked: HttpRequest, reach: Reach): Promise<Dispatcher.ResponseData> {
    const tls = (await this.#tls?.settings(asked.registry, url)) ?? USUAL_TLS
    const send = (isNew: boolean) => {
      const dispatcher = this.#connections.dispatcher(url, reach, tls, { isNew })
      return request(url, {
        method: asked.method,
        headers: asked.headers,
        body: asked.body ?? null,
        signal: asked.signal,
        dispatcher: asked.onSent === undefined ? dispatcher : onSent(dispatcher, asked.onSent),
        ...this.#timeouts,
      })
    }
    const startedAt = performance.now()
    try {
      return await send(false)
    } catch (error) {
      if (asked.signal.aborted || !this.#connections.wasStale(error, startedAt)) throw error
      return await send(true)
    }
  }
}

/** The text is the same for open and closed ports, so that clients cannot scan this machine. */
function refusalText(reach: AddressRefusedError['reach'], { host }: URL, registry: string): string {
  switch (reach) {
    case 'public':
      return `a public registry sent to ${host}, which is a private address`
    case 'remote':
      return `${host} is not contacted for ${registry}: it is a loopback or link-local address, which --upstream ${registry}=<url> would allow`
  }
}

function redirectOf(response: HttpResponse, url: URL): URL | undefined {
  if (!REDIRECTS.includes(response.status)) return undefined
  const refuse = (why: string) => {
    response.body.destroy()
    return new UpstreamError('failed', `${url.host} redirected ${why}`, { status: response.status })
  }
  const target = URL.parse(response.header('location') ?? 'http://[', url)
  if (target === null) throw refuse('to nowhere')
  if (target.protocol !== url.protocol && target.protocol !== 'https:')
    throw refuse(`from ${url.protocol} to ${target.protocol}`)
  // A user and a password there would be somebody else's.
  target.username = ''
  target.password = ''
  return target
}

function withoutAuthorization(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'))
}
