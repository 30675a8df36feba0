import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { PeerClient } from '../../../src/peers/peer-client.ts'
import { readProxies } from '../../../src/upstream/registry/proxies.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import { type ConnectProxy, startConnectProxy } from '../../support/connect-proxy.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import { makeImage } from '../../support/image-maker.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { OddServer, RegistryClients, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const bytes = Buffer.from('the bytes of a blob')
const digest = digestOf(bytes)
const clients = new RegistryClients()

describe('a proxy of the environment', () => {
  let proxy: ConnectProxy
  let server: OddServer

  beforeEach(async () => {
    proxy = await startConnectProxy()
    server = await OddServer.start((_, response) =>
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes),
    )
  })
  afterEach(async () => {
    await clients.close()
    await proxy[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })

  const create = (endpoints: readonly string[], environment: Record<string, string> = {}) =>
    clients.create({
      endpoints,
      proxyFor: readProxies({ HTTP_PROXY: proxy.url.href, HTTPS_PROXY: proxy.url.href, ...environment }),
    })
  const pull = async ({ client }: Awaited<ReturnType<typeof create>>) => {
    const blob = await client.getBlob(app, digest, { signal, start: 0 })
    return blob && readAll(blob.body)
  }

  it('is asked for upstreams, by names that only it needs to know', async () => {
    assert.deepEqual(await pull(await create([`http://registry.test:${server.port}`])), bytes)
    assert.deepEqual(proxy.seen, [`GET http://registry.test:${server.port}/v2/library/app/blobs/${digest}`])
  })

  it('gets the user and password of its URL, and nobody sees them', async () => {
    const HTTP_PROXY = `http://ann:se%23cret@${proxy.url.host}`
    const { client } = await create([`http://registry.test:${server.port}`], { HTTP_PROXY })
    assert.equal(await client.headBlob(app, digest, { signal }), bytes.length)
    assert.deepEqual(proxy.authorizations, [`Basic ${Buffer.from('ann:se#cret').toString('base64')}`])
    const dead = await create(['http://registry.test:9'], { HTTP_PROXY: 'http://ann:secret@127.0.0.1:9' })
    await assert.rejects(dead.client.headBlob(app, digest, { signal }), (error: Error) => {
      for (let at: unknown = error; at instanceof Error; at = at.cause) assert.ok(!at.message.includes('secret'))
      return isUpstreamError('unreachable')(error)
    })
  })

  it('is left out for what NO_PROXY names, and for this machine', async () => {
    assert.deepEqual(await pull(await create([server.url])), bytes)
    const { client } = await create([`http://registry.test:${server.port}`], { NO_PROXY: '.test' })
    await assert.rejects(client.headBlob(app, digest, { signal }), isUpstreamError('unreachable'))
    assert.deepEqual(proxy.seen, [])
  })

  it('does not make private addresses reachable by redirects', async () => {
    for (const host of ['169.254.169.254', '10.0.0.1', 'localhost']) {
      server.answer = (_, response) => response.writeHead(307, { location: `http://${host}:${server.port}/x` }).end()
      const asking = pull(await create([`http://registry.test:${server.port}`]))
      await assert.rejects(asking, isUpstreamError('failed', /private address/))
    }
    assert.equal(server.seen.length, 3)
  })

  it('carries TLS to registries, with an authority of their own', async (context) => {
    const directory = await mkdtemp(join(tmpdir(), 'nabo-proxy-'))
    try {
      const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
      const subject = ['-subj', '/CN=hub', '-addext', 'subjectAltName=DNS:registry.test,IP:127.0.0.1']
      try {
        const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
        execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], { stdio: 'pipe' })
      } catch {
        return context.skip('no openssl')
      }
      await using hub = await createHub({
        tls: { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') },
        tokens: false,
      })
      const image = makeImage({ layers: [{ size: 100_000, seed: 'proxy' }] })
      await hub.publish('app', '1', image)
      const { port } = new URL(hub.registryUrl)
      const proxyFor = readProxies({ HTTPS_PROXY: proxy.url.href })
      const options = { endpoints: [`https://registry.test:${port}`], proxyFor }
      const { client } = await clients.create({ ...options, authorities: new Map([['docker.io', certFile]]) })
      assert.deepEqual((await client.headManifest(app, '1', { signal }))?.descriptor, image.root.descriptor)
      assert.deepEqual(proxy.seen, [`CONNECT registry.test:${port}`])
      const stranger = await clients.create(options)
      await assert.rejects(stranger.client.headManifest(app, '1', { signal }), isUpstreamError('unreachable'))
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  it('is none of the neighbours’ business', async () => {
    const kept = { ...process.env }
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy']) process.env[name] = proxy.url.href
    const peers = new PeerClient({ idleTimeout: 1000 })
    try {
      const peer = { id: 'p', address: new URL(server.url).host }
      assert.equal(await peers.headBlob(peer as never, app, digest, { signal }), bytes.length)
      assert.deepEqual(proxy.seen, [])
    } finally {
      await peers.close()
      for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy']) {
        if (kept[name] === undefined) delete process.env[name]
        else process.env[name] = kept[name]
      }
    }
  })
})
