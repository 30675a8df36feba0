import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import { FullBacklog } from '../../support/full-backlog.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients, readAll } from '../../support/registry-clients.ts'
import { eventually } from '../../support/poll.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const ann = { username: 'ann', password: 'secret' }
const bytes = Buffer.from('{"schemaVersion":2}')
const digest = digestOf(bytes)
const clients = new RegistryClients()

type Answer = OddServer['answer']

const manifest: Answer = (request, response) => {
  response.writeHead(200, { 'content-type': 'a/b', 'content-length': bytes.length, 'docker-content-digest': digest })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}
const status =
  (code: number, headers: Record<string, string> = {}, body = ''): Answer =>
  (_, response) =>
    response.writeHead(code, headers).end(body)
const hang: Answer = () => {}

describe('a registry with several addresses', () => {
  let first: OddServer
  let second: OddServer

  beforeEach(async () => {
    first = await OddServer.start()
    second = await OddServer.start(manifest, '127.0.0.2')
  })
  afterEach(async () => {
    await clients.close()
    await first[Symbol.asyncDispose]()
    await second[Symbol.asyncDispose]()
  })

  const create = () => clients.create({ endpoints: [first.url, second.url] })
  const head = async (client: Awaited<ReturnType<typeof create>>['client']) =>
    (await client.headManifest(app, '1', { signal }))?.descriptor.digest

  it('is asked at the next one when the first fails or is limited', async () => {
    for (const answer of [
      status(500),
      status(502, {}, '<html>Bad Gateway</html>'),
      status(503),
      status(429, {}, 'Too Many Requests'),
      status(429, { 'content-type': 'application/json' }, '{"errors":[{"code":"TOOMANYREQUESTS"}]}'),
      status(400),
      ((_, response) => response.destroy()) as Answer,
    ]) {
      first.answer = answer
      const { client } = await create()
      assert.equal(await head(client), digest)
      assert.deepEqual(Buffer.from((await client.getManifest(app, '1', { signal }))?.bytes ?? []), bytes)
    }
  })

  it('is asked at the next one when nobody listens at the first, or not in the right language', async () => {
    const mute = createServer((socket) => socket.end('this is no TLS\n').on('error', () => {}))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = mute.address() as { port: number }
      for (const url of ['http://127.0.0.1:9', `https://127.0.0.1:${port}`, `http://127.0.0.1:${port}`]) {
        const { client } = await clients.create({ endpoints: [url, second.url] })
        assert.equal(await head(client), digest, url)
      }
    } finally {
      mute.close()
    }
  })

  it('is asked at the next one while the first hangs, and is left alone when it always does', async () => {
    first.answer = hang
    const { client, addresses } = await create()
    const deadline = AbortSignal.timeout(4000)
    assert.equal((await client.headManifest(app, '1', { signal: deadline }))?.descriptor.digest, digest)
    for (let round = 0; round < 2; round += 1) await Promise.all(Array.from({ length: 4 }, () => head(client)))
    await eventually('it is left alone', () => addresses.views()[0]?.state === 'open')
    const asked = first.seen.length
    assert.equal(await head(client), digest)
    assert.equal(first.seen.length, asked)
  })

  it('means it when it says no itself', async () => {
    const { client } = await create()
    first.answer = status(404)
    assert.equal(await head(client), undefined)
    for (const code of [401, 403]) {
      first.answer = status(code)
      await assert.rejects(head(client), isUpstreamError('denied'))
    }
    assert.deepEqual(second.seen, [])
  })

  it('is not believed by what a mirror lacks or denies', async () => {
    first.answer = status(429, {}, 'Too Many Requests')
    for (const code of [404, 401, 403]) {
      second.answer = status(code)
      const { client } = await create()
      await assert.rejects(head(client), isUpstreamError('limited', /limits requests/))
      await assert.rejects(client.getBlob(app, digest, { signal, start: 0 }), isUpstreamError('limited'))
    }
    const { client, addresses } = await create()
    for (let count = 0; count < 5; count += 1) await assert.rejects(head(client), isUpstreamError('limited'))
    assert.equal(addresses.views()[0]?.state, 'open')
    second.answer = status(404)
    await assert.rejects(head(client), isUpstreamError('limited', /left alone/))
    first.answer = status(404)
    assert.equal(await head((await create()).client), undefined)
  })

  it('gives lists itself or not at all', async () => {
    first.answer = status(503)
    const { client } = await create()
    await assert.rejects(client.getListing(app, 'tags/list', { signal }), isUpstreamError('failed'))
    assert.deepEqual(second.seen, [])
  })

  it('keeps its credentials from mirrors in other domains', async () => {
    const basic: Answer = (request, response) => {
      if (request.headers.authorization === undefined)
        status(401, { 'www-authenticate': 'Basic realm="r"' })(request, response)
      else manifest(request, response)
    }
    first.answer = (request, response) =>
      request.headers.authorization === undefined ? basic(request, response) : status(503)(request, response)
    second.answer = basic
    const credential = (repository: Repository) => (repository.registry === 'docker.io' ? ann : undefined)
    const { client } = await clients.create({ endpoints: [first.url, second.url], credential })
    await assert.rejects(head(client), isUpstreamError('failed', /503/))
    assert.ok(first.seen.some((line) => line.includes('Basic')))
    await assert.rejects(client.headManifest(app, '1', { signal, as: ann }), isUpstreamError('failed', /503/))
    assert.ok(second.seen.length > 0 && second.seen.every((line) => line.endsWith(' -')), second.seen.join('\n'))

    const own = { username: 'bob', password: 'mirror' }
    const kept = (repository: Repository) => (repository.registry.startsWith('127.0.0.2:') ? own : ann)
    const rich = await clients.create({ endpoints: [first.url, second.url], credential: kept })
    assert.equal((await rich.client.headManifest(app, '1', { signal }))?.anonymous, false)
    const sent = Buffer.from((second.seen.at(-1) ?? '').split(' ').at(-1) ?? '', 'base64').toString()
    assert.equal(sent, 'bob:mirror')
  })

  it('is left alone where it fails time after time, and tried again by one request', async () => {
    const lines: string[] = []
    const log = {
      warn: (_: object, message: string) => lines.push(`warn ${message}`),
      info: (_: object, message: string) => lines.push(`info ${message}`),
    }
    first.answer = status(503)
    const { client, addresses } = await clients.create({ endpoints: [first.url, second.url], log })
    for (let count = 0; count < 20; count += 1) assert.equal(await head(client), digest)
    assert.equal(first.seen.length, 3)
    assert.deepEqual(addresses.views(), [
      { registry: 'docker.io', address: new URL(first.url).host, state: 'open', clockAhead: 0 },
      { registry: 'docker.io', address: new URL(second.url).host, state: 'closed', clockAhead: 0 },
    ])
    first.answer = manifest
    await eventually('it is tried again', () => addresses.views()[0]?.state === 'half-open')
    const asked = second.seen.length
    assert.equal(await head(client), digest)
    assert.equal(second.seen.length, asked)
    assert.equal(addresses.views()[0]?.state, 'closed')
    assert.deepEqual(lines, [
      'warn an address of a registry is left alone for a while',
      'info an address of a registry answers again',
    ])
  })

  it('is left alone at once when it asks for that, and says why when there is nobody else', async () => {
    first.answer = status(429, { 'retry-after': '60' }, 'Too Many Requests')
    const { client } = await clients.create({ endpoints: [first.url] })
    await assert.rejects(head(client), isUpstreamError('limited'))
    await assert.rejects(head(client), isUpstreamError('limited', /left alone for another (60|59) s/))
    await assert.rejects(client.headBlob(app, digest, { signal }), isUpstreamError('limited'))
    assert.equal(first.seen.length, 1)
  })

  it('still answers what a used up quota of manifests does not touch', async () => {
    const message = '{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}'
    first.answer = (request, response) =>
      (request.method === 'HEAD' ? manifest : status(429, { 'retry-after': '60' }, message))(request, response)
    const { client } = await clients.create({ endpoints: [first.url] })
    for (let count = 0; count < 10; count += 1) {
      await assert.rejects(client.getManifest(app, '1', { signal }), isUpstreamError('limited'))
    }
    assert.equal(await head(client), digest)
  })

  it('is not ill because its CDN is', async () => {
    first.answer = (request, response) =>
      request.url?.includes('/blobs/')
        ? response.writeHead(307, { location: 'http://127.0.0.1:9/blob' }).end()
        : manifest(request, response)
    second.answer = (_, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
    const { client, addresses } = await create()
    for (let count = 0; count < 10; count += 1) {
      const blob = await client.getBlob(app, digest, { signal, start: 0 })
      assert.deepEqual(blob && (await readAll(blob.body)), bytes)
    }
    assert.equal(addresses.views()[0]?.state, 'closed')
  })

  it('gives what another address has when one sends something else', async () => {
    const { client } = await create()
    first.answer = (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>')
    assert.equal((await client.getManifest(app, digest, { signal }))?.descriptor.digest, digest)
    first.answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{')
      setImmediate(() => response.destroy())
    }
    assert.equal((await client.getManifest(app, digest, { signal }))?.descriptor.digest, digest)
  })

  it('is not ill because whoever has the credentials is slow', async () => {
    const { client, addresses } = await clients.create({
      endpoints: [first.url],
      credential: () => new Promise(() => {}),
    })
    for (let count = 0; count < 6; count += 1) {
      const controller = new AbortController()
      const asking = client.headManifest(app, '1', { signal: controller.signal })
      setImmediate(() => controller.abort(new Error('gone')))
      await assert.rejects(asking, /gone/)
    }
    assert.equal(addresses.views()[0]?.state, 'closed')
    assert.deepEqual(first.seen, [])
  })

  it('is left alone when nothing gets through to it, or to its token server', async () => {
    await using dropped = await FullBacklog.start()
    const wanted = { 'www-authenticate': `Bearer realm="${dropped.url}/token",service="s"` }
    first.answer = status(401, wanted)
    for (const [endpoint, requests] of [
      [dropped.url, 0],
      [first.url, 3],
    ] as const) {
      const { client, addresses } = await clients.create({ endpoints: [endpoint], timeout: 1000 })
      for (const ask of [
        () => client.headManifest(app, '1', { signal }),
        () => client.getManifest(app, '1', { signal }),
        () => client.getBlob(app, digest, { signal, start: 0 }),
      ])
        await assert.rejects(ask(), isUpstreamError('unreachable', /cannot be reached/))
      assert.equal(addresses.views()[0]?.state, 'open')
      await assert.rejects(client.headBlob(app, digest, { signal }), isUpstreamError('unreachable', /left alone/))
      assert.equal(first.seen.length, requests)
    }
  })

  it('is asked no more when its caller has gone', async () => {
    first.answer = hang
    second.answer = hang
    const controller = new AbortController()
    const { client, addresses } = await create()
    const asking = client.headManifest(app, '1', { signal: controller.signal })
    await eventually('it is asked', () => first.seen.length === 1)
    controller.abort(new Error('gone'))
    await assert.rejects(asking, /gone/)
    assert.deepEqual(second.seen, [])
    assert.equal(addresses.views()[0]?.state, 'closed')
  })
})
