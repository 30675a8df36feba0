import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

import { Agent, type Dispatcher, request } from 'undici'

import { UpstreamError } from '../upstream.ts'

export interface HttpResponse {
  readonly status: number
  /** Of the URL that answered in the end. */
  readonly url: URL
  header(name: string): string | undefined
  readonly body: Dispatcher.ResponseData['body']
}

export interface HttpRequest {
  /** Whose certificate authority is accepted besides the public ones, at token realms and CDNs too. */
  readonly registry: string
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Asks registries, their token realms and their CDNs. Throws UpstreamError `unreachable` when no header comes. */
export interface HttpClient {
  request(url: URL, options: HttpRequest): Promise<HttpResponse>
  close(): Promise<void>
}

const MAX_REDIRECTS = 5
const USER_AGENT = 'nabo'

export interface HttpClientOptions {
  /** For a TCP and TLS connection, and then for the header, in milliseconds. */
  readonly headerTimeout: number
  /** The longest silence inside a body, in milliseconds. */
  readonly idleTimeout: number
  /** PEM files of extra certificate authorities by registry. */
  readonly authorities: ReadonlyMap<string, string>
}

/** An HTTP client over undici that follows redirects and drops `Authorization` when the origin changes. */
export async function createHttpClient(options: HttpClientOptions): Promise<HttpClient> {
  const base = { headersTimeout: options.headerTimeout, bodyTimeout: options.idleTimeout, maxHeaderSize: 64 * 1024 }
  const agentFor = (tls: { secureContext?: SecureContext } = {}) =>
    new Agent({ ...base, connect: { timeout: options.headerTimeout, ...tls } })
  const shared = agentFor()
  const special = new Map<string, Dispatcher>()
  for (const [registry, file] of options.authorities) {
    special.set(registry, agentFor({ secureContext: await readAuthority(registry, file) }))
  }
  const agents = [shared, ...special.values()]
  return {
    request: (url, asked) => follow(url, asked, special.get(asked.registry) ?? shared),
    close: async () => void (await Promise.all(agents.map((agent) => agent.destroy()))),
  }
}

/** The file's authorities come on top of the public ones: the registry may send on to a public CDN. */
async function readAuthority(registry: string, file: string): Promise<SecureContext> {
  try {
    const pem = await readFile(file, 'utf8')
    // Throws for what is no certificate, which a secure context would silently do without.
    void new X509Certificate(pem)
    return createSecureContext({ ca: [...getCACertificates('default'), pem] })
  } catch (cause) {
    const why =
      (cause as NodeJS.ErrnoException).syscall === undefined ? 'it is not PEM' : (cause as NodeJS.ErrnoException).code
    throw new Error(`the certificate authority of ${registry} cannot be read from ${file}: ${why}`, { cause })
  }
}

async function follow(start: URL, asked: HttpRequest, dispatcher: Dispatcher): Promise<HttpResponse> {
  let url = start
  let headers: Record<string, string> = { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', ...asked.headers }
  for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
    const response = await send(url, { ...asked, headers }, dispatcher)
    const location = redirectOf(response, url)
    if (location === undefined) return response
    await discard(response)
    if (location.origin !== url.origin) headers = withoutAuthorization(headers)
    url = location
  }
  throw new UpstreamError('failed', `${start.host} redirected more than ${MAX_REDIRECTS} times`)
}

function redirectOf(response: HttpResponse, url: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(response.status)) return undefined
  const location = response.header('location')
  if (location === undefined || !URL.canParse(location, url)) {
    response.body.destroy()
    throw new UpstreamError('failed', `${url.host} redirected to nowhere`, { status: response.status })
  }
  const target = new URL(location, url)
  if (target.protocol !== url.protocol && target.protocol !== 'https:') {
    response.body.destroy()
    throw new UpstreamError('failed', `${url.host} redirected from HTTPS to ${target.protocol}`, {
      status: response.status,
    })
  }
  return target
}

function withoutAuthorization(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'))
}

async function send(url: URL, asked: HttpRequest, dispatcher: Dispatcher): Promise<HttpResponse> {
  try {
    const { statusCode, headers, body } = await request(url, {
      method: asked.method,
      headers: asked.headers,
      signal: asked.signal,
      dispatcher,
    })
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
    throw new UpstreamError('unreachable', `${url.host} cannot be reached`, { cause })
  }
}

/** Reads a small body whole. Throws UpstreamError `invalid` past `limit` bytes, `unreachable` if it breaks off. */
export async function readBounded(response: HttpResponse, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > limit) throw new UpstreamError('invalid', `${response.url.host} sent more than ${limit} bytes`)
      chunks.push(chunk)
    }
  } catch (cause) {
    if (cause instanceof UpstreamError) throw cause
    throw new UpstreamError('unreachable', `${response.url.host} broke off`, { cause })
  }
  return Buffer.concat(chunks, length)
}

/** Lets a connection be used again after an answer whose body does not matter, or drops it if the body is long. */
export async function discard(response: HttpResponse): Promise<void> {
  await response.body.dump({ limit: 64 * 1024 }).catch(() => {})
}
