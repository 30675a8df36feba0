import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'

import { VERSION, VERSION_HEADER } from '../../src/version.ts'
import type { Content, Image } from './image-maker.ts'

/** One request that a client made. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  /** The value of `ns`; undefined if the client did not say for which registry it asks. */
  readonly ns: string | undefined
  /** `Basic ann:secret` in clear, another scheme as it came, or nothing. */
  readonly authorization: string | undefined
  readonly userAgent: string | undefined
  readonly status: number
}

export interface MirrorRules {
  /** To a request with the right password, and to all if nothing is asked for. */
  readonly image?: Image
  /** What must be sent, and where a challenge comes if it is not: with everything, `/v2/` too, or with content alone. */
  readonly basic?: { readonly user: string; readonly challenge: 'everywhere' | 'content' }
  /** What a wrong password is told. */
  readonly wrong?: 401 | 404
  /** Challenges with a token server that it does not have. */
  readonly bearer?: boolean
}

/** Something that clients take for a mirror or a registry, and that writes down what they send. */
export class RecordingMirror implements AsyncDisposable {
  rules: MirrorRules = {}
  #seen: SeenRequest[] = []
  readonly #server: Server
  #port = 0

  private constructor() {
    this.#server = createServer((req, res) => this.#answer(req, res))
  }

  static async start(): Promise<RecordingMirror> {
    const mirror = new RecordingMirror()
    await new Promise<void>((resolve) => mirror.#server.listen(0, '127.0.0.1', resolve))
    const address = mirror.#server.address()
    if (address !== null && typeof address === 'object') mirror.#port = address.port
    return mirror
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`
  }

  get url(): string {
    return `http://${this.host}`
  }

  /** What came since the last call. */
  take(): readonly SeenRequest[] {
    const seen = this.#seen
    this.#seen = []
    return seen
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    // `nabo configure` looks whether this is Nabo: no client's request.
    if (req.headers['user-agent'] === 'nabo') {
      res.setHeader(VERSION_HEADER, VERSION)
      return fail(res, 404, 'NOT_FOUND')
    }
    const url = new URL(req.url ?? '/', 'http://mirror')
    const authorization = inClear(req.headers.authorization)
    res.once('close', () => {
      this.#seen.push({
        method: req.method ?? '',
        path: decodeURIComponent(url.pathname),
        ns: url.searchParams.get('ns') ?? undefined,
        authorization,
        userAgent: req.headers['user-agent'],
        status: res.statusCode,
      })
    })
    const { basic, bearer = false, wrong = 404 } = this.rules
    const isBase = url.pathname === '/v2/'
    if (bearer) return challenge(res, `Bearer realm="${this.url}/token",service="mirror"`)
    const wants = basic !== undefined && (!isBase || basic.challenge === 'everywhere')
    if (wants && authorization === undefined) return challenge(res, 'Basic realm="mirror"')
    if (wants && authorization !== `Basic ${basic.user}`) {
      return wrong === 401 ? challenge(res, 'Basic realm="mirror"') : fail(res, 404, 'MANIFEST_UNKNOWN')
    }
    if (isBase) return send(req, res, 'application/json', Buffer.from('{}'))
    const content = this.#find(url.pathname)
    if (content === undefined) return fail(res, 404, 'MANIFEST_UNKNOWN')
    res.setHeader('docker-content-digest', content.descriptor.digest)
    send(req, res, content.descriptor.mediaType, content.bytes)
  }

  /** Whatever the repository is called. */
  #find(path: string): Content | undefined {
    const { image } = this.rules
    const [, kind, reference] = /\/(manifests|blobs)\/([^/]+)$/.exec(path) ?? []
    if (image === undefined || kind === undefined) return undefined
    if (kind === 'blobs') return image.blobs.find(({ descriptor }) => descriptor.digest === reference)
    return (
      image.manifests.find(({ descriptor }) => descriptor.digest === reference) ??
      (reference?.includes(':') === true ? undefined : image.root)
    )
  }
}

function send(req: IncomingMessage, res: ServerResponse, type: string, bytes: Uint8Array): void {
  res.writeHead(200, { 'content-type': type, 'content-length': bytes.length })
  res.end(req.method === 'HEAD' ? undefined : bytes)
}

function challenge(res: ServerResponse, header: string): void {
  res.setHeader('www-authenticate', header)
  fail(res, 401, 'UNAUTHORIZED')
}

function fail(res: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ errors: [{ code, message: `the mirror says ${code}`, detail: null }] })
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  res.end(res.req.method === 'HEAD' ? undefined : body)
}

function inClear(header: string | undefined): string | undefined {
  const basic = header === undefined ? undefined : /^basic (\S+)$/i.exec(header)?.[1]
  return basic === undefined ? header : `Basic ${Buffer.from(basic, 'base64').toString('utf8')}`
}
