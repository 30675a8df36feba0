import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/oci/reference.ts'
import type { RegistryClient } from '../../../src/upstream/registry/registry-client.ts'
import { createHub } from '../../support/hub/create-hub.ts'
import type { Hub } from '../../support/hub/hub.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'
import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { type RegistryClientOptions, RegistryClients, readAll } from '../../support/registry-clients.ts'

const signal = new AbortController().signal
const app: Repository = { registry: 'docker.io', name: 'library/app' }
const hidden: Repository = { registry: 'docker.io', name: 'org/hidden' }
const ann = { username: 'ann', password: 'secret' }
const clients = new RegistryClients()

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
    await clients.close()
  })

  const clientOf = (options: RegistryClientOptions = {}) => clients.create({ endpoints: [hub.registryUrl], ...options })
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

  it('gets no more of a blob than the part that is wanted', async () => {
    const { client } = await clientOf()
    const part = async (start: number, end: number) => {
      const blob = await client.getBlob(app, layer.descriptor.digest, { signal, start, end })
      return blob && { size: blob.size, bytes: await readAll(blob.body) }
    }
    const { size } = layer.descriptor
    assert.deepEqual(await part(0, 10), { size, bytes: Buffer.from(layer.bytes.subarray(0, 10)) })
    assert.deepEqual(await part(5, 9), { size, bytes: Buffer.from(layer.bytes.subarray(5, 9)) })
    assert.deepEqual(await part(size - 3, size + 7), { size, bytes: Buffer.from(layer.bytes.subarray(size - 3)) })
    assert.equal((await hub.counters()).blobs[layer.descriptor.digest]?.bytes, 10 + 4 + 3)
    await hub.setFaults({ range: 'ignored' })
    assert.deepEqual(await part(5, 9), { size, bytes: Buffer.from(layer.bytes.subarray(5, 9)) })
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

  it('says why it got nothing', async () => {
    for (const [fault, reason] of [
      [{ registry: { down: true } }, 'unreachable'],
      [{ registry: { hang: true } }, 'unreachable'],
      [{ registry: { status: 500 } }, 'failed'],
      [{ registry: {}, limited: 'quota' }, 'limited'],
      [{ limited: 'abuse' }, 'limited'],
      [{ limited: undefined, registry: { status: 403 } }, 'denied'],
    ] as const) {
      await hub.setFaults(fault)
      const { client } = await clientOf({ timeout: 300 })
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
      await secure.setFaults({ registry: { path: /\/blobs\//, redirectTo: 'http://127.0.0.1:9/blob' } })
      await assert.rejects(
        client.getBlob(app, layer.descriptor.digest, { signal, start: 0 }),
        isUpstreamError('failed', /from https: to http:/),
      )
      const strangers = await clientOf({ endpoints, authorities: new Map([['ghcr.io', certFile]]) })
      await assert.rejects(strangers.client.headManifest(app, '1', { signal }), isUpstreamError('unreachable'))

      await writeFile(keyFile, 'no certificate')
      for (const [file, why] of [
        [keyFile, /--registry-ca docker\.io cannot be used: it is not PEM/],
        [join(directory, 'none'), /ENOENT/],
      ] as const) {
        await assert.rejects(clientOf({ authorities: new Map([['docker.io', file]]) }), why)
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
