import { TooManyBytesError, readBounded } from '../../async/read-bounded.ts'
import { type HttpAnswer, HttpRequests } from '../../http-client/http-requests.ts'
import type { Digest } from '../../oci/digest.ts'
import { MANIFEST_ACCEPT, MAX_MANIFEST_BYTES } from '../../oci/manifest.ts'
import { parseContentRange } from '../../oci/range.ts'
import type { Repository } from '../../oci/reference.ts'
import { PULL_USER_AGENT, requestPath } from '../../oci/request.ts'
import { minute, second } from '../../time/units.ts'
import { printable } from '../printable.ts'
import { CommandError } from '../run-command.ts'

export interface MirrorClientOptions {
  readonly url: string
  /** `user:password`, for images that are not public. */
  readonly credential: string | undefined
  /** The token of the daemon's `--mirror-token-file`. */
  readonly token: string | undefined
}

/** The source of the first bytes, from the mirror's headers; `unknown` for a mirror without them. */
export interface Origin {
  readonly source: 'store' | 'peer' | 'upstream' | 'unknown'
  /** The peer's address. */
  readonly peer?: string
}

export interface MirrorManifest {
  readonly bytes: Buffer
  readonly origin: Origin
}

export interface MirrorBlob {
  readonly body: AsyncIterable<Uint8Array>
  readonly origin: Origin
  close(): void
}

const CONNECT_TIMEOUT = 15 * second
/** The mirror ends each wait itself, after its `--upstream-timeout` and 9 s. */
const HEADER_TIMEOUT = 2 * minute
/** Longer than the mirror waits for any of its sources. */
const IDLE_TIMEOUT = 60 * second
const MAX_REFUSAL = 64 * 1024

/** Asks a mirror listener as containerd does, over kept connections, never through a proxy. Refusals are CommandErrors in its words. */
export class MirrorClient {
  readonly #options: MirrorClientOptions
  readonly #requests = new HttpRequests({ connectTimeout: CONNECT_TIMEOUT, idleTimeout: IDLE_TIMEOUT })

  constructor(options: MirrorClientOptions) {
    this.#options = options
  }

  /** A manifest by its tag or digest, unverified. */
  async manifest(
    repository: Repository,
    reference: string,
    { signal }: { signal: AbortSignal },
  ): Promise<MirrorManifest> {
    const headers = { accept: MANIFEST_ACCEPT.join(', ') }
    const response = await this.#open(requestPath(repository, 'manifests', reference), headers, signal)
    const bytes = await readBounded(response.body, MAX_MANIFEST_BYTES).catch((cause: unknown) => {
      signal.throwIfAborted()
      if (cause instanceof TooManyBytesError)
        throw new CommandError(`the mirror sent more than ${cause.limit} bytes for a manifest`, { cause })
      throw new CommandError(`the mirror at ${this.#options.url} broke off inside a manifest`, { cause })
    })
    return { bytes, origin: originOf(response) }
  }

  /** A blob from byte `start` to its end. `size`: bytes of the whole blob. The body throws other Errors when the connection breaks. */
  async blob(
    repository: Repository,
    digest: Digest,
    options: { start: number; size: number; signal: AbortSignal },
  ): Promise<MirrorBlob> {
    const { start, size, signal } = options
    const headers: Record<string, string> = start === 0 ? {} : { range: `bytes=${start}-` }
    const response = await this.#open(requestPath(repository, 'blobs', digest), headers, signal)
    const range = parseContentRange(response.header('content-range'))
    const isRest = start === 0 || (response.status === 206 && range?.start === start)
    const length = Number(response.header('content-length') ?? Number.NaN)
    if (isRest && length === size - start)
      return { body: response.body, origin: originOf(response), close: () => void response.body.destroy() }
    response.body.destroy()
    throw new CommandError(`${digest}: the mirror has ${length} bytes for it where ${size - start} are expected`)
  }

  close(): Promise<void> {
    return this.#requests.close()
  }

  async #open(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<HttpAnswer> {
    const { url, credential, token } = this.#options
    const all = {
      ...headers,
      // Not `nabo`: the mirror refuses that user agent, by which it detects a daemon that is its own upstream.
      'user-agent': PULL_USER_AGENT,
      ...(credential === undefined ? {} : { authorization: `Basic ${Buffer.from(credential).toString('base64')}` }),
      ...(token === undefined ? {} : { 'nabo-token': token }),
    }
    const answer = await this.#send(`${url}${path}`, all, signal)
    if (answer.status === 200 || answer.status === 206) return answer
    const body = await readBounded(answer.body, MAX_REFUSAL).catch(() => Buffer.alloc(0))
    throw new CommandError(this.#refusal(answer.status, body))
  }

  async #send(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<HttpAnswer> {
    try {
      return await this.#requests.send(url, { method: 'GET', headers, signal, headersTimeout: HEADER_TIMEOUT })
    } catch (cause) {
      signal.throwIfAborted()
      throw new CommandError(`no mirror answers at ${this.#options.url}: ${whyNone(cause as Error)}`, { cause })
    }
  }

  #refusal(status: number, body: Buffer): string {
    const { code, message: said, isNodeRefused } = errorIn(body)
    if (status === 401 && !isNodeRefused) {
      return this.#options.credential === undefined
        ? `the image does not exist, or is not public: check its name; for a private image give a user and password with --creds-stdin${said === undefined ? '' : ` (${said})`}`
        : `the registry does not take these credentials${said === undefined ? '' : `: ${said}`}`
    }
    // Its other listeners say so.
    if (code === 'NOT_FOUND') return `what answers at ${this.#options.url} is no mirror: --mirror-url says where it is`
    return said ?? `the mirror at ${this.#options.url} answered ${status}`
  }
}

function whyNone({ name, message, code = '' }: NodeJS.ErrnoException): string {
  if (code === 'ECONNREFUSED') return 'is the daemon running?'
  if (code === 'EPROTO' || name === 'HTTPParserError' || code.startsWith('ERR_SSL_'))
    return 'it speaks another protocol'
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT') return 'it did not answer in time'
  return message
}

function originOf(answer: HttpAnswer): Origin {
  const source = answer.header('nabo-source')
  const peer = answer.header('nabo-peer')
  if (source !== 'store' && source !== 'peer' && source !== 'upstream') return { source: 'unknown' }
  return { source, ...(peer === undefined ? {} : { peer: printable(peer).slice(0, 300) }) }
}

interface MirrorRefusal {
  readonly code?: unknown
  readonly message?: string
  /** Whether the registry refuses the credentials of the mirror's node itself: others are no remedy for that. */
  readonly isNodeRefused: boolean
}

function errorIn(body: Buffer): MirrorRefusal {
  try {
    const { errors } = JSON.parse(body.toString('utf8')) as {
      errors?: { code?: unknown; message?: unknown; detail?: { isNodeRefused?: unknown } | null }[]
    }
    const { code, message, detail } = errors?.[0] ?? {}
    const isNodeRefused = detail?.isNodeRefused === true
    return { code, isNodeRefused, ...(typeof message === 'string' ? { message } : {}) }
  } catch {
    return { isNodeRefused: false }
  }
}
