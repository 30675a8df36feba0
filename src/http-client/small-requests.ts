import { Agent, type Dispatcher, request } from 'undici'

import { second } from '../time/units.ts'

export interface SmallRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** Milliseconds until the head of the answer; 5 seconds if absent. */
  readonly headersTimeout?: number | undefined
  readonly signal: AbortSignal
}

/** The head of an answer. Its body is to be read, dumped or destroyed. */
export interface SmallAnswer {
  readonly status: number
  /** Values of a repeated header are joined with commas. */
  header(name: string): string | undefined
  readonly body: Dispatcher.ResponseData['body']
}

export interface SmallRequestsOptions {
  /** Sends every request to this Unix socket; the host of a URL then only fills the `Host` header. */
  readonly socketPath?: string | undefined
  /** The longest silence inside a body, in milliseconds; 5 seconds if absent. */
  readonly idleTimeout?: number | undefined
}

const CONNECT_TIMEOUT = 1 * second
const HEADERS_TIMEOUT = 5 * second
const IDLE_TIMEOUT = 5 * second
const KEEP_ALIVE = 30 * second

/**
 * The HTTP client for requests whose answers are small: messages between nodes, the admin API, bootstrap lists, checks. Its connections are
 * kept, and never go through a proxy. Errors are undici's.
 */
export class SmallRequests {
  readonly #dispatcher: Agent

  constructor({ socketPath, idleTimeout = IDLE_TIMEOUT }: SmallRequestsOptions = {}) {
    this.#dispatcher = new Agent({
      connect: { timeout: CONNECT_TIMEOUT, ...(socketPath === undefined ? {} : { socketPath }) },
      bodyTimeout: idleTimeout,
      keepAliveTimeout: KEEP_ALIVE,
    })
  }

  async send(
    url: string | URL,
    { headersTimeout = HEADERS_TIMEOUT, body, ...asked }: SmallRequest,
  ): Promise<SmallAnswer> {
    const answer = await request(url, { ...asked, body: body ?? null, headersTimeout, dispatcher: this.#dispatcher })
    // A body that ends badly after its reader has gone is nobody's error.
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

  close(): Promise<void> {
    return this.#dispatcher.destroy()
  }
}
