import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { type OwnedUpstream, createUpstream } from '../../src/daemon/create-upstream.ts'
import { SystemTrust } from '../../src/http-client/system-trust.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { QuotaBook } from '../../src/upstream/quota/quota-book.ts'
import { QuotaGate } from '../../src/upstream/quota/quota-gate.ts'
import { parseServeFlags } from '../support/daemon.ts'
import { isUpstreamError } from '../support/is-upstream-error.ts'
import { recordedLog } from '../support/recorded-log.ts'
import { OddServer } from '../support/registry-clients.ts'

const signal = new AbortController().signal
const bytes = Buffer.from('{"schemaVersion":2,"layers":[]}')
const digest = digestOf(bytes)
const app = { registry: 'registry.test', name: 'app' }

describe('the upstreams of a daemon', () => {
  let server: OddServer
  let opened: OwnedUpstream[]

  beforeEach(async () => {
    opened = []
    server = await OddServer.start((_, response) =>
      response.writeHead(200, { 'content-length': bytes.length, 'content-type': 'a/b' }).end(bytes),
    )
  })
  afterEach(async () => {
    for (const owned of opened) await owned.close()
    await server[Symbol.asyncDispose]()
  })

  async function open(...flags: string[]) {
    const log = recordedLog()
    const trust = new SystemTrust({}, log)
    const parts = { observe: () => {}, quota: new QuotaGate(new QuotaBook()), trust, log }
    const owned = await createUpstream(parseServeFlags(flags), parts)
    opened.push(owned)
    return owned.upstream
  }

  it('are not on this machine unless --upstream says so', async () => {
    const upstream = await open('--fallback', 'all')
    for (const host of ['127.0.0.1', 'localhost', '127.1']) {
      const repository = { registry: `${host}:${server.port}`, name: 'app' }
      const asking = upstream.getManifest(repository, digest, { signal })
      await assert.rejects(asking, isUpstreamError('failed', /is not contacted .* --upstream .*=<url> would allow/))
    }
    assert.deepEqual(server.seen, [])
    const registry = `127.0.0.1:${server.port}`
    const named = await open('--fallback', 'all', '--upstream', `${registry}=${server.url}`)
    const found = await named.getManifest({ registry, name: 'app' }, digest, { signal })
    assert.equal(found?.descriptor.digest, digest)
  })

  it('that --fallback leaves out get no GET for a tag, whatever their HEAD lacks', async () => {
    for (const [headers, lacking] of [
      [{ 'content-length': '2', 'content-type': 'a/b' }, /without the digest of/],
      [{ 'docker-content-digest': digest, 'content-type': 'a/b' }, /without the size of/],
      [{ 'docker-content-digest': digest, 'content-length': '2' }, /without the media type of/],
      [{}, /without the digest, size, media type of/],
    ] as const) {
      server.answer = (request, response) => {
        response.writeHead(200, { ...headers })
        // Node adds a length to an answer that ends before its headers went out.
        response.flushHeaders()
        response.end(request.method === 'HEAD' ? undefined : bytes)
      }
      server.seen.length = 0
      const upstream = await open('--fallback', 'docker.io', '--upstream', `registry.test=${server.url}`)
      const asking = upstream.headManifest(app, '1', { signal })
      await assert.rejects(asking, isUpstreamError('failed', lacking))
      await assert.rejects(
        asking,
        isUpstreamError('failed', /^127\.0\.0\.1:\d+ .* --fallback leaves registry\.test out$/),
      )
      assert.deepEqual(server.seen, ['HEAD /v2/app/manifests/1 -'])
    }
  })

  it('that --fallback names are asked by GET for what their HEAD lacks', async () => {
    const upstream = await open('--fallback', 'registry.test', '--upstream', `registry.test=${server.url}`)
    assert.equal((await upstream.headManifest(app, '1', { signal }))?.descriptor.digest, digest)
    assert.deepEqual(
      server.seen.map((line) => line.split(' ')[0]),
      ['HEAD', 'GET'],
    )
  })
})
