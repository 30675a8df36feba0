import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { UpstreamError } from '../../../src/upstream/upstream.ts'
import { QuotaBook } from '../../../src/upstream/quota/quota-book.ts'
import { QuotaGate } from '../../../src/upstream/quota/quota-gate.ts'
import { THIS_ADDRESS } from '../../../src/upstream/quota/quota-view.ts'
import { makeImage } from '../../support/image-maker.ts'
import { OddServer, RegistryClients } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const { manifest } = makeImage({ layers: [{ size: 100, seed: 'sources' }] })
const { digest, mediaType } = manifest.descriptor
const ann = { username: 'ann', password: 'kept-to-herself' }

describe('whom a registry counts', () => {
  const clients = new RegistryClients()
  let book: QuotaBook
  let gate: QuotaGate
  beforeEach(() => {
    book = new QuotaBook()
    gate = new QuotaGate(book)
  })
  afterEach(() => clients.close())

  const counted = (remaining: number, more: Record<string, string> = {}) => ({
    'ratelimit-limit': '100;w=3600',
    'ratelimit-remaining': `${remaining};w=3600`,
    ...more,
  })
  const give = (response: ServerResponse, headers: Record<string, string>) => {
    response.writeHead(200, { 'content-type': mediaType, 'docker-content-digest': digest, ...headers })
    response.end(manifest.bytes)
  }
  const shown = () => book.views().map(({ source, remaining }) => [source, remaining])

  it('is the account that was asked for, where it names nobody', async () => {
    await using server = await OddServer.start((request, response) => {
      if (request.headers.authorization !== undefined) return give(response, counted(7))
      response.writeHead(401, { 'www-authenticate': 'Basic', ...counted(99) })
      response.end()
    })
    const { client } = await clients.create({ endpoints: [server.url], credential: ann, quota: gate })
    await client.getManifest(app, digest, { signal })
    assert.deepEqual(shown(), [['ann', 7]])
  })

  it('is this address, where nobody asked for credentials', async () => {
    await using server = await OddServer.start((_, response) => give(response, counted(8)))
    const { client } = await clients.create({ endpoints: [server.url], credential: ann, quota: gate })
    await client.getManifest(app, digest, { signal })
    assert.deepEqual(shown(), [[THIS_ADDRESS, 8]])
  })

  it('is nobody, where it says the secret that it was sent', async () => {
    await using server = await OddServer.start((request, response) => {
      const { authorization } = request.headers
      if (authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic' })
        response.end()
      } else
        give(
          response,
          counted(6, {
            'docker-ratelimit-source': request.url?.endsWith('1') === true ? `me:${ann.password}` : authorization,
          }),
        )
    })
    const { client } = await clients.create({ endpoints: [server.url], credential: ann, quota: gate })
    for (const reference of ['1', digest]) await client.getManifest(app, reference, { signal })
    assert.deepEqual(shown(), [['ann', 6]])
  })

  it('is said in the error of a GET that was refused, and of those that are not sent then', async () => {
    await using server = await OddServer.start((_, response) => {
      response.writeHead(429, counted(0, { 'docker-ratelimit-source': '203.0.113.7' }))
      response.end('{"errors":[{"code":"TOOMANYREQUESTS"}]}')
    })
    const { client, outcomes } = await clients.create({ endpoints: [server.url], quota: gate })
    for (const status of [429, undefined]) {
      await assert.rejects(client.getManifest(app, digest, { signal }), (error: unknown) => {
        assert.ok(error instanceof UpstreamError)
        assert.deepEqual([error.reason, error.status, error.limit?.source], ['limited', status, '203.0.113.7'])
        assert.match(error.message, /the quota of docker\.io is used up.*: .* allows 203\.0\.113\.7 100 pulls in 1 h/)
        return true
      })
    }
    assert.deepEqual(outcomes, ['GET manifests 429'])
  })

  it('is not what a CDN behind it says', async () => {
    await using cdn = await OddServer.start((_, response) => give(response, counted(0)))
    await using server = await OddServer.start((request, response) => {
      response.writeHead(307, { location: `${cdn.url}${request.url}` })
      response.end()
    })
    const { client } = await clients.create({ endpoints: [server.url], quota: gate })
    await client.getManifest(app, digest, { signal })
    assert.deepEqual(shown(), [])
  })
})
