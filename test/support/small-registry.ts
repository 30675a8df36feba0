import { type IncomingMessage, type RequestListener, type Server, type ServerResponse, createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES, type Descriptor } from '../../src/oci/manifest.ts'
import type { Content, Image } from './image-maker.ts'

/** Who may read a repository: everybody, or the users named. */
export type Readers = 'everybody' | readonly string[]

export interface SmallRegistryOptions {
  /** PEM. Plain HTTP if absent. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined
  /** Passwords by user. */
  readonly users?: Readonly<Record<string, string>>
  /** The challenge of each 401, and of `/v2/`, which then is one; Basic if absent. */
  readonly challenge?: string
  /** Answers each HEAD with 200, for what it does not have too, once the request carries any credentials; never gives a byte. */
  readonly vouchesForAll?: boolean
  /** Leaves out of a HEAD answer what says which content it would be: its digest, length and type. */
  readonly bareHeads?: boolean
  /** Blobs have no length in any answer, and no Range is heeded: `chunked`, or with the connection's end, as in HTTP/1.0. */
  readonly unsizedBlobs?: 'chunked' | 'closing' | undefined
}

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly user: string | undefined
  readonly status: number
}

const BASIC = 'Basic realm="test"'
const UNSIZED_CHUNK = 16 * 1024

interface StoredRepository {
  readers: Readers
  readonly manifests: Map<string, Content>
  readonly blobs: Map<Digest, Uint8Array>
}

/**
 * A registry of which a test knows each content and each right. It asks for a name and a password where it must (Basic), keeps blobs by
 * repository, and hides nothing: 401 without credentials, 403 with those of a user who may not read, 404 for what is not there.
 */
export class SmallRegistry implements AsyncDisposable {
  readonly seen: SeenRequest[] = []
  /** While true each connection is cut off. */
  isDown = false
  readonly #options: SmallRegistryOptions
  readonly #server: Server
  readonly #repositories = new Map<string, StoredRepository>()

  private constructor(options: SmallRegistryOptions) {
    this.#options = options
    const answer: RequestListener = (request, response) => this.#answer(request, response)
    this.#server = options.tls === undefined ? createServer(answer) : createTlsServer({ ...options.tls }, answer)
  }

  static async start(options: SmallRegistryOptions = {}): Promise<SmallRegistry> {
    const registry = new SmallRegistry(options)
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve))
    return registry
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.port}`
  }

  /** Who may read a repository from now on. */
  allow(name: string, readers: Readers): void {
    this.#of(name).readers = readers
  }

  put(name: string, content: Uint8Array): Digest {
    const digest = digestOf(content)
    this.#of(name).blobs.set(digest, content)
    return digest
  }

  /** Adds a manifest by its digest, and by a tag if there is one. What it lists need not be there. */
  putManifest(name: string, { bytes, descriptor }: Content, tag?: string): void {
    const { manifests } = this.#of(name)
    for (const reference of [descriptor.digest, ...(tag === undefined ? [] : [tag])])
      manifests.set(reference, { bytes, descriptor })
  }

  /** Adds an image under a tag; `without` are digests of it that the repository does not have. */
  publish(name: string, tag: string, image: Image, options: { without?: readonly Digest[] } = {}): void {
    const has = ({ descriptor }: Content) => options.without?.includes(descriptor.digest) !== true
    for (const content of image.manifests.filter(has)) this.putManifest(name, content)
    for (const { bytes } of image.blobs.filter(has)) this.put(name, bytes)
    this.putManifest(name, image.root, tag)
  }

  /** Whether this registry would give a content to a user, or to a client without credentials. */
  gives(name: string, digest: Digest, user: string | undefined): boolean {
    const repository = this.#repositories.get(name)
    if (repository === undefined || !mayRead(repository, user)) return false
    return repository.blobs.has(digest) || repository.manifests.has(digest)
  }

  requests(method: string, kind: 'manifests' | 'blobs'): readonly SeenRequest[] {
    return this.seen.filter((request) => request.method === method && request.path.includes(`/${kind}/`))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #of(name: string): StoredRepository {
    const known = this.#repositories.get(name)
    if (known !== undefined) return known
    const created: StoredRepository = { readers: 'everybody', manifests: new Map(), blobs: new Map() }
    this.#repositories.set(name, created)
    return created
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.isDown) return void request.socket.destroy()
    const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '')
    const user = this.#userOf(request)
    response.once('close', () =>
      this.seen.push({ method: request.method ?? '', path, user: user ?? undefined, status: response.statusCode }),
    )
    const [, name = '', kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path) ?? []
    const { challenge = BASIC } = this.#options
    const refuse = () => sendError(response, 401, challenge)
    if (path === '/v2/') return challenge === BASIC ? sendError(response, 200) : refuse()
    if (user === null) return refuse()
    if (this.#options.vouchesForAll === true) return this.#vouch(request, response, reference)
    const repository = this.#repositories.get(name)
    if (repository === undefined) return user === undefined ? refuse() : sendError(response, 404)
    if (!mayRead(repository, user)) return user === undefined ? refuse() : sendError(response, 403)
    const content =
      kind === 'manifests' ? repository.manifests.get(reference) : blobOf(repository.blobs.get(reference as Digest))
    if (content === undefined) return sendError(response, 404)
    if (request.method === 'HEAD' && this.#options.bareHeads === true) return void response.writeHead(200).end()
    if (kind === 'blobs' && this.#options.unsizedBlobs !== undefined)
      return sendUnsized(request, response, content, this.#options.unsizedBlobs)
    sendContent(request, response, content)
  }

  #vouch(request: IncomingMessage, response: ServerResponse, reference: string): void {
    if (request.headers.authorization === undefined) return sendError(response, 401)
    if (request.method !== 'HEAD') return sendError(response, 404)
    const headers = { 'content-type': MEDIA_TYPES.ociManifest, 'content-length': 700 }
    response.writeHead(200, { ...headers, ...(reference.includes(':') ? { 'docker-content-digest': reference } : {}) })
    response.end()
  }

  /** undefined without credentials, null for wrong ones. */
  #userOf({ headers }: IncomingMessage): string | undefined | null {
    if (headers.authorization === undefined) return undefined
    const text = Buffer.from(headers.authorization.replace(/^Basic /, ''), 'base64').toString('utf8')
    const user = text.slice(0, text.indexOf(':'))
    if (this.#options.vouchesForAll === true) return user
    return this.#options.users?.[user] === text.slice(user.length + 1) ? user : null
  }
}

function mayRead({ readers }: StoredRepository, user: string | null | undefined): boolean {
  return readers === 'everybody' || (typeof user === 'string' && readers.includes(user))
}

function blobOf(bytes: Uint8Array | undefined): Content | undefined {
  if (bytes === undefined) return undefined
  const descriptor: Descriptor = { digest: digestOf(bytes), size: bytes.length, mediaType: 'application/octet-stream' }
  return { bytes, descriptor }
}

function sendError(response: ServerResponse, status: number, challenge = BASIC): void {
  const asked = status === 401 ? { 'www-authenticate': challenge } : {}
  response
    .writeHead(status, { 'content-type': 'application/json', ...asked })
    .end(status === 200 ? '{}' : '{"errors":[]}')
}

function sendUnsized(
  { method }: IncomingMessage,
  response: ServerResponse,
  { bytes, descriptor }: Content,
  how: 'chunked' | 'closing',
): void {
  response.useChunkedEncodingByDefault = how === 'chunked'
  if (how === 'closing') response.shouldKeepAlive = false
  response.writeHead(200, { 'content-type': descriptor.mediaType })
  if (method === 'HEAD') return void response.end()
  // In several chunks, as a server sends what it produces as it goes.
  for (let at = 0; at < bytes.length; at += UNSIZED_CHUNK) response.write(bytes.subarray(at, at + UNSIZED_CHUNK))
  response.end()
}

function sendContent(
  { method, headers }: IncomingMessage,
  response: ServerResponse,
  { bytes, descriptor }: Content,
): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? []
  const start = Number(from ?? 0)
  const end = to === undefined || to === '' ? bytes.length : Math.min(Number(to) + 1, bytes.length)
  const range = from === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }
  response.writeHead(from === undefined ? 200 : 206, {
    'content-type': descriptor.mediaType,
    'content-length': end - start,
    'docker-content-digest': descriptor.digest,
    ...range,
  })
  if (method === 'HEAD') response.end()
  else response.end(bytes.subarray(start, end))
}
