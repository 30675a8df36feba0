import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import type { Network } from '../../../src/upstream/registry/connections.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)
const clients = new RegistryClients()
const [PUBLIC, PRIVATE] = ['127.0.0.1', '127.0.0.2']

describe('a redirect', () => {
  let outside: OddServer
  let inside: OddServer
  let location: string
  /** What each name leads to, the last address again and again. */
  let names: Record<string, string[]>
  const network: Network = {
    lookup: (hostname, options, callback) => {
      const addresses = names[hostname] ?? []
      const address = (addresses.length > 1 ? addresses.shift() : addresses[0]) ?? '192.0.2.1'
      if (options.all === true) callback(null, [{ address, family: 4 }])
      else callback(null, address, 4)
    },
    isPrivate: (address) => address !== PUBLIC,
    isLocal: () => false,
  }
  const answer: OddServer['answer'] = (request, response) => {
    if (request.url?.startsWith('/v2/') === true) response.writeHead(307, { location }).end()
    else response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  }

  beforeEach(async () => {
    outside = await OddServer.start(answer, PUBLIC)
    inside = await OddServer.start(answer, PRIVATE)
    names = { 'outside.test': [PUBLIC], 'inside.test': [PRIVATE] }
  })
  afterEach(async () => {
    await clients.close()
    await outside[Symbol.asyncDispose]()
    await inside[Symbol.asyncDispose]()
  })

  const pull = async (endpoint: string) => {
    const { client } = await clients.create({ endpoints: [endpoint], network })
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    return blob && readAll(blob.body)
  }

  it('from a public registry leads to public places', async () => {
    location = `http://outside.test:${outside.port}/blob`
    assert.deepEqual(await pull(outside.url), bytes)
    location = `http://ann:secret@127.0.0.1:${outside.port}/blob`
    assert.deepEqual(await pull(outside.url), bytes)
    assert.ok(outside.seen.every((line) => line.endsWith(' -')))
  })

  it('from a public registry to a private address is refused, whatever it is called', async () => {
    for (const host of [
      PRIVATE,
      'inside.test',
      'localhost',
      '169.254.169.254',
      '[::1]',
      '[::ffff:7f00:2]',
      '2130706434',
    ]) {
      location = `http://${host}:${inside.port}/blob`
      await assert.rejects(pull(outside.url), isUpstreamError('failed', /a public registry sent to .* private address/))
      const named = `http://outside.test:${outside.port}`
      await assert.rejects(pull(named), isUpstreamError('failed', /private address/), host)
    }
    assert.deepEqual(inside.seen, [])
  })

  it('is judged by where it leads when it is followed', async () => {
    names['rebinding.test'] = [PUBLIC, PRIVATE]
    location = `http://rebinding.test:${inside.port}/blob`
    // Whoever asked once before would have seen a public address.
    network.lookup('rebinding.test', { all: true }, () => {})
    await assert.rejects(pull(outside.url), isUpstreamError('failed', /private address/))
    assert.deepEqual(inside.seen, [])
  })

  it('does not gain by a registry that is private now and then', async () => {
    location = `http://inside.test:${inside.port}/blob`
    const close: OddServer['answer'] = (_, response) => response.writeHead(307, { location, connection: 'close' }).end()
    outside.answer = close
    await using twin = await OddServer.start(close, PRIVATE, outside.port)
    const { client } = await clients.create({ endpoints: [`http://turning.test:${outside.port}`], network })
    const get = () => client.getBlob(app, digest, { signal, start: 0 })
    for (const address of [PUBLIC, PRIVATE, PUBLIC]) {
      names['turning.test'] = [address]
      await assert.rejects(get(), isUpstreamError('failed', /private address/))
    }
    assert.equal(twin.seen.length, 1)
    assert.deepEqual(inside.seen, [])
  })

  it('within a private network is followed, and back into it from the public is not', async () => {
    location = `http://inside.test:${inside.port}/blob`
    assert.deepEqual(await pull(inside.url), bytes)
    assert.deepEqual(await pull(`http://inside.test:${inside.port}`), bytes)
    location = `http://outside.test:${outside.port}/blob`
    assert.deepEqual(await pull(inside.url), bytes)
    location = `http://outside.test:${outside.port}/back`
    outside.answer = (_, response) =>
      response.writeHead(302, { location: `http://inside.test:${inside.port}/blob` }).end()
    await assert.rejects(pull(inside.url), isUpstreamError('failed', /private address/))
  })

  it('to another scheme, or in circles, is not followed', async () => {
    for (const [target, why] of [
      ['file:///etc/passwd', /from http: to file:/],
      ['ftp://127.0.0.1/blob', /from http: to ftp:/],
      ['data:,x', /from http: to data:/],
      ['/v2/again', /more than 5 times/],
    ] as const) {
      location = target
      await assert.rejects(pull(outside.url), isUpstreamError('failed', why))
    }
  })

  it('never shows a signature in an error', async () => {
    location = 'http://127.0.0.1:9/blob?signature=secret'
    const error = await pull(outside.url).catch((error: unknown) => error as Error)
    assert.ok(error instanceof Error)
    for (let at: unknown = error; at instanceof Error; at = at.cause)
      assert.ok(!at.message.includes('secret'), at.message)
  })

  it('is not what a realm can be used for either', async () => {
    outside.answer = (_, response) =>
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://inside.test:${inside.port}/token"` }).end()
    const { client } = await clients.create({ endpoints: [outside.url], network })
    await assert.rejects(client.headManifest(app, '1', { signal }), isUpstreamError('failed', /private address/))
    assert.deepEqual(inside.seen, [])
  })
})
