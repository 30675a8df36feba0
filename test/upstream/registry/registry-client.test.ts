import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import type { Credential } from '../../../src/upstream/registry/credentials.ts'
import { type HttpClient, createHttpClient } from '../../../src/upstream/registry/http-client.ts'
import { RegistryClient } from '../../../src/upstream/registry/registry-client.ts'
import { RegistrySession } from '../../../src/upstream/registry/registry-session.ts'
import { TokenCache } from '../../../src/upstream/registry/token-cache.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const hidden: Repository = { registry: 'docker.io', name: 'org/hidden' }
const ann = { username: 'ann', password: 'secret' }

interface ClientOptions {
  readonly endpoints: readonly string[]
  readonly credential?: Credential
  readonly authorities?: ReadonlyMap<string, string>
  readonly timeout?: number
}

let clients: HttpClient[] = []

async function makeClient(options: ClientOptions): Promise<{ client: RegistryClient; outcomes: string[] }> {
  const { timeout = 10_000, authorities = new Map() } = options
  const http = await createHttpClient({ headerTimeout: timeout, idleTimeout: timeout, authorities })
  clients.push(http)
  const outcomes: string[] = []
  const session = new RegistrySession({
    http,
    tokens: new TokenCache(http),
    endpoints: new Map([['docker.io', options.endpoints.map((url) => new URL(url))]]),
    findCredential: () => options.credential,
    observe: (event) => outcomes.push(`${event.method} ${event.kind} ${event.outcome}`),
  })
  return { client: new RegistryClient(session), outcomes }
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const isUpstreamError =
  (reason: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof UpstreamError, String(error))
    assert.equal(error.reason, reason, error.message)
    assert.match(error.message, message)
    return true
  }

describe('a registry client at Docker Hub', () => {
  let hub: Hub
  let image: Image
  let layer: Image['layers'][number]

  before(async () => {
    image = makeImage({ layers: [{ size: 300_000, seed: 'client' }], multiArch: true })
    layer = image.layers[0] ?? assert.fail()
    hub = await createHub({
      users: [{ name: 'ann', password: 'secret', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', image)
  })
  after(() => hub.close())
  beforeEach(() => hub.reset())
  afterEach(async () => {
    for (const client of clients) await client.close()
    clients = []
  })

  const clientOf = (options: Partial<ClientOptions> = {}) => makeClient({ endpoints: [hub.registryUrl], ...options })
  const blobOf = async (client: RegistryClient, start = 0, repository = app) => {
    const blob = await client.getBlob(repository, layer.descriptor.digest, { signal, start })
    return blob === undefined ? undefined : { size: blob.size, bytes: await readAll(blob.body) }
  }

  it('resolves a tag by HEAD, which costs nothing, and gets its token once', async () => {
    const { client } = await clientOf()
    for (let round = 0; round < 3; round += 1) {
      const found = await client.headManifest(app, '1', { signal })
      assert.deepEqual(found?.descriptor, image.root.descriptor)
      assert.equal(found.anonymous, true)
      assert.ok(Math.abs(found.date - Date.now()) < 60_000)
    }
    const { manifestGets, manifestHeads, tokens } = await hub.counters()
    assert.deepEqual({ manifestGets, manifestHeads, tokens }, { manifestGets: 0, manifestHeads: 3, tokens: 1 })
  })

  it('takes the time of a tag from the upstream, not from this node', async () => {
    await hub.setFaults({ dateOffsetMs: -86_400_000 })
    const found = await (await clientOf()).client.headManifest(app, '1', { signal })
    assert.ok((found?.date ?? 0) < Date.now() - 80_000_000)
  })

  it('reads manifests by tag and digest', async () => {
    const { client } = await clientOf()
    for (const reference of ['1', image.root.descriptor.digest]) {
      const found = await client.getManifest(app, reference, { signal })
      assert.deepEqual(Buffer.from(found?.bytes ?? []), Buffer.from(image.root.bytes))
      assert.deepEqual(found?.descriptor, image.root.descriptor)
    }
  })

  it('follows to the CDN without its Authorization, and resumes there', async () => {
    const { client } = await clientOf()
    const whole = await blobOf(client)
    assert.equal(whole?.size, layer.bytes.length)
    assert.equal(digestOf(whole.bytes), layer.descriptor.digest)
    const rest = await blobOf(client, 100_000)
    assert.equal(rest?.size, layer.bytes.length)
    assert.deepEqual(rest.bytes, Buffer.from(layer.bytes.subarray(100_000)))
    assert.equal(await client.headBlob(app, layer.descriptor.digest, { signal }), layer.bytes.length)
    const seen = await hub.requests()
    assert.deepEqual(
      new Set(seen.filter(({ origin }) => origin === 'cdn').map((one) => one.authorization)),
      new Set([undefined]),
    )
    assert.equal(seen.filter(({ origin, range }) => origin === 'cdn' && range === 'bytes=100000-').length, 1)
  })

  it('says what does not exist', async () => {
    const { client } = await clientOf()
    const nothing = digestOf(Buffer.from('nothing'))
    assert.equal(await client.headManifest(app, 'none', { signal }), undefined)
    assert.equal(await client.getManifest(app, nothing, { signal }), undefined)
    assert.equal(await client.headBlob(app, nothing, { signal }), undefined)
    assert.equal(await client.getBlob(app, nothing, { signal, start: 0 }), undefined)
  })

  it('gets a new token when the old one is no longer taken', async () => {
    const { client } = await clientOf()
    await client.headManifest(app, '1', { signal })
    await hub.revokeTokens()
    assert.ok(await client.headManifest(app, '1', { signal }))
    assert.equal((await hub.counters()).tokens, 2)
  })

  it('asks the registry again when the CDN says that a signature has expired', async () => {
    const { client } = await clientOf()
    await hub.setFaults({ expiredSignatures: 1 })
    assert.equal(digestOf((await blobOf(client))?.bytes ?? Buffer.alloc(0)), layer.descriptor.digest)
    await hub.setFaults({ expiredSignatures: 9 })
    await assert.rejects(blobOf(client), isUpstreamError('failed', /answered 403/))
    assert.equal((await hub.counters()).redirects, 4)
  })

  it('gives private images to who has credentials for them', async () => {
    const { client } = await clientOf({ credential: ann })
    const found = await client.headManifest(hidden, '1', { signal })
    assert.equal(found?.anonymous, false)
    assert.equal(digestOf((await blobOf(client, 0, hidden))?.bytes ?? Buffer.alloc(0)), layer.descriptor.digest)
    await assert.rejects(client.headManifest(hidden, '1', { signal, as: 'anonymous' }), isUpstreamError('denied'))
    assert.ok((await client.headManifest(app, '1', { signal, as: 'anonymous' }))?.anonymous)
  })

  it('is denied private images otherwise, and gives up at once', async () => {
    const { client } = await clientOf()
    await assert.rejects(client.headManifest(hidden, '1', { signal }), isUpstreamError('denied'))
    const { tokens, manifestHeads } = await hub.counters()
    assert.deepEqual({ tokens, manifestHeads }, { tokens: 1, manifestHeads: 0 })
    const wrong = await clientOf({ credential: { username: 'ann', password: 'wrong' } })
    await assert.rejects(wrong.client.headManifest(hidden, '1', { signal }), (error: Error) => {
      assert.ok(!error.message.includes('wrong'))
      return isUpstreamError('denied')(error)
    })
  })

  it('tries several addresses in turn', async () => {
    const other = await createHub()
    try {
      await other.publish('app', '1', image)
      const { client, outcomes } = await clientOf({ endpoints: [other.registryUrl, hub.registryUrl] })
      for (const [fault, outcome] of [
        [{ down: true }, 'unreachable'],
        [{ status: 503 }, '503'],
        [{ status: 429, text: 'Too Many Requests' }, '429'],
      ] as const) {
        await other.setFaults({ registry: fault })
        outcomes.length = 0
        assert.ok(await client.headManifest(app, '1', { signal }))
        assert.equal(outcomes[0], `HEAD manifests ${outcome}`)
      }
      assert.ok((await hub.counters()).manifestHeads >= 3)
      await hub.setFaults({ registry: { status: 429 } })
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('limited'))
    } finally {
      await other.close()
    }
  })

  it('does not go on to the next address when access is denied', async () => {
    const open = await createHub({ tokens: false })
    try {
      await open.publish('org/hidden', '1', image)
      const { client } = await clientOf({ endpoints: [hub.registryUrl, open.registryUrl] })
      await assert.rejects(client.headManifest(hidden, '1', { signal }), isUpstreamError('denied'))
      assert.equal((await open.requests()).length, 0)
    } finally {
      await open.close()
    }
  })

  it('says why it got nothing', async () => {
    const { client } = await clientOf({ timeout: 300 })
    for (const [fault, reason] of [
      [{ registry: { down: true } }, 'unreachable'],
      [{ registry: { hang: true } }, 'unreachable'],
      [{ registry: { status: 500 } }, 'failed'],
      [{ registry: {}, limited: 'quota' }, 'limited'],
      [{ limited: 'abuse' }, 'limited'],
      [{ limited: undefined, registry: { status: 403 } }, 'denied'],
    ] as const) {
      await hub.setFaults(fault)
      await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError(reason), JSON.stringify(fault))
    }
  })

  it('ends when its caller does', async () => {
    const { client } = await clientOf()
    await hub.setFaults({ registry: { hang: true } })
    const controller = new AbortController()
    const asking = client.headManifest(app, '1', { signal: controller.signal })
    setImmediate(() => controller.abort(new Error('gone')))
    await assert.rejects(asking, /gone/)
  })

  it('passes listings on', async () => {
    const listing = await (await clientOf()).client.getListing(app, 'tags/list?n=1', { signal })
    assert.deepEqual(JSON.parse(Buffer.from(listing.body).toString()), { name: 'library/app', tags: ['1'] })
  })

  it('speaks TLS with an authority of the registry’s own', async (context) => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-tls-'))
    try {
      const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
      const subject = ['-subj', '/CN=hub', '-addext', 'subjectAltName=IP:127.0.0.1']
      try {
        const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
        execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], { stdio: 'pipe' })
      } catch {
        return context.skip('no openssl')
      }
      const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') }
      await using secure = await createHub({ tls })
      await secure.publish('app', '1', image)
      const endpoints = [secure.registryUrl]
      const { client } = await clientOf({ endpoints, authorities: new Map([['docker.io', certFile]]) })
      assert.equal(digestOf((await blobOf(client))?.bytes ?? Buffer.alloc(0)), layer.descriptor.digest)
      const strangers = await clientOf({ endpoints, authorities: new Map([['ghcr.io', certFile]]) })
      await assert.rejects(strangers.client.headManifest(app, '1', { signal }), isUpstreamError('unreachable'))

      await writeFile(keyFile, 'no certificate')
      for (const [file, why] of [
        [keyFile, /docker\.io cannot be read from .*: it is not PEM/],
        [join(directory, 'none'), /ENOENT/],
      ] as const) {
        await assert.rejects(clientOf({ authorities: new Map([['docker.io', file]]) }), why)
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})

describe('a registry that misbehaves', () => {
  let server: Server
  let url: string
  let answer: (request: IncomingMessage, response: ServerResponse) => void
  let seen: string[]
  const bytes = Buffer.from('the bytes of a blob')
  const digest = digestOf(bytes)

  beforeEach(async () => {
    seen = []
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`)
      answer(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(async () => {
    for (const client of clients) await client.close()
    clients = []
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('and sends for a token to a foreign domain gets no credentials', async () => {
    const { client } = await makeClient({ endpoints: [url], credential: ann })
    for (const realm of ['http://localhost:1/token', 'https://evil.example/token', 'http://127.0.0.2:1/token']) {
      answer = (_, response) => response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end()
      await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('denied', /not its own domain/))
    }
    assert.ok(seen.every((line) => line.endsWith(' -')))
  })

  it('and sends a wrong manifest is not believed', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    answer = (_, response) => response.writeHead(200, { 'content-type': 'a/b' }).end('{}')
    await assert.rejects(client.getManifest(app, digest, { signal }), isUpstreamError('invalid', /is not sha256:/))
    answer = (_, response) => response.writeHead(200, { 'docker-content-digest': digest }).end('{}')
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('invalid', /is not sha256:/))
    answer = (_, response) => response.end(Buffer.alloc(5_000_000))
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('invalid', /more than/))
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{')
      setImmediate(() => response.destroy())
    }
    await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('unreachable', /broke off/))
  })

  it('and says little in a HEAD is asked by GET', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    answer = (_, response) => response.writeHead(200, { 'content-type': 'a/b; charset=x' }).end('{}')
    const found = await client.headManifest(app, '1', { signal })
    assert.deepEqual(found?.descriptor, { digest: digestOf(Buffer.from('{}')), size: 2, mediaType: 'a/b' })
    assert.deepEqual(
      seen.map((line) => line.split(' ')[0]),
      ['HEAD', 'GET'],
    )
  })

  it('and does not say how long a blob is is not asked for one', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    answer = (_, response) => response.writeHead(200).end()
    await assert.rejects(client.headBlob(app, digest, { signal }), isUpstreamError('invalid', /does not say the size/))
    answer = (request, response) => {
      if (request.method === 'GET') response.write('chunked')
      response.end()
    }
    await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('invalid'))
  })

  it('and knows no Range still goes on where it should', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    answer = (_, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    const blob = await client.getBlob(app, digest, { signal, start: 10 })
    assert.equal(blob?.size, bytes.length)
    assert.deepEqual(await readAll(blob.body), bytes.subarray(10))
  })

  it('and sends another range than was asked for is refused', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    for (const contentRange of ['bytes 0-18/19', 'bytes 5-10/19', 'bytes 5-18/*', 'bytes */19', undefined]) {
      answer = (_, response) =>
        response.writeHead(206, contentRange === undefined ? {} : { 'content-range': contentRange }).end('x')
      await assert.rejects(client.getBlob(app, digest, { signal, start: 5 }), isUpstreamError('invalid'), contentRange)
    }
  })

  it('and redirects in circles, or to nowhere, is left', async () => {
    const { client } = await makeClient({ endpoints: [url] })
    for (const [location, why] of [
      [`${url}/again`, /more than 5 times/],
      ['http://[', /to nowhere/],
      ['file:///etc/passwd', /redirected/],
      [undefined, /to nowhere/],
    ] as const) {
      answer = (_, response) => response.writeHead(307, location === undefined ? {} : { location }).end()
      await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('failed', why))
    }
  })

  it('and wants a password gets it, when there is one', async () => {
    answer = (request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      else response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    }
    const rich = await makeClient({ endpoints: [url], credential: ann })
    assert.equal((await rich.client.getBlob(app, digest, { signal, start: 0 }))?.size, bytes.length)
    const poor = await makeClient({ endpoints: [url] })
    await assert.rejects(poor.client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('denied'))
  })
})
