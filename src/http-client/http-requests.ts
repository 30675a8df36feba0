import { Agent, type Dispatcher, request } from 'undici'

import { second } from '../time/units.ts'
import type { SystemTrust } from './system-trust.ts'

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** Milliseconds until the head of the answer, 0 for no limit; 5 seconds if absent. */
  readonly headersTimeout?: number | undefined
  readonly signal: AbortSignal
}

/** The head of an answer. The caller reads or destroys the body: until then it keeps its connection. */
export interface HttpAnswer {
  readonly status: number
  /** Values of a repeated header are joined with commas. */
  readonly header: (name: string) => string | undefined
  readonly body: Dispatcher.ResponseData['body']
}

export interface HttpRequestsOptions {
  /** Sends every request to this Unix socket; the host of a URL then only fills the `Host` header. */
  readonly socketPath?: string | undefined
  /** Milliseconds for a TCP and TLS connection; 1 second if absent. */
  readonly connectTimeout?: number
  /** The longest silence inside a body in milliseconds, 0 for no limit; 5 seconds if absent. */
  readonly idleTimeout?: number
  /** The name in TLS handshakes, if not the URL's host. */
  readonly servername?: string | undefined
  /** False to accept any certificate. Only for requests that carry no secret and whose answers are not trusted. */
  readonly verifiesCertificates?: boolean
  /** The authorities of this system, for HTTPS; only those of Node if absent. */
  readonly trust?: Pick<SystemTrust, 'load'>
}

const CONNECT_TIMEOUT = 1 * second
const HEADERS_TIMEOUT = 5 * second
const IDLE_TIMEOUT = 5 * second
const KEEP_ALIVE = 30 * second

/**
 * The HTTP client for everything but registries and the blobs of peers: messages between nodes, the admin API, bootstrap lists, checks,
 * `nabo pull`. Connections are kept and never go through a proxy. Errors are undici's.
 */
export class HttpRequests {
  readonly #dispatcher: Agent
  readonly #trust: Pick<SystemTrust, 'load'> | undefined

  constructor(options: HttpRequestsOptions = {}) {
    const { socketPath, connectTimeout, idleTimeout, servername, verifiesCertificates, trust } = options
    this.#trust = trust
    this.#dispatcher = new Agent({
      connect: {
        timeout: connectTimeout ?? CONNECT_TIMEOUT,
        rejectUnauthorized: verifiesCertificates ?? true,
        ...(socketPath === undefined ? {} : { socketPath }),
        ...(servername === undefined ? {} : { servername }),
      },
      bodyTimeout: idleTimeout ?? IDLE_TIMEOUT,
      keepAliveTimeout: KEEP_ALIVE,
    })
  }

  /** Resolves with the head of the answer, whatever its status. Follows no redirects. */
  async send(
    url: string | URL,
    { headersTimeout = HEADERS_TIMEOUT, body, ...asked }: HttpRequest,
  ): Promise<HttpAnswer> {
    if (String(url).startsWith('https:')) await this.#trust?.load()
    const answer = await request(url, { ...asked, body: body ?? null, headersTimeout, dispatcher: this.#dispatcher })
    // A body can fail after its reader has gone: without a listener that error would end the process.
    answer.body.on('error', () => {})
    return {
      status: answer.statusCode,
      header: (name) => {
        const value = answer.headers[name]
        return Array.isArray(value) ? value.join(', ') : value
      },
      body: answer.body,
    }
  }

  /** Ends every connection. */
  close(): Promise<void> {
    return this.#dispatcher.destroy()
  }
}
