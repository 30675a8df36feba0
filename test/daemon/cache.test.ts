import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import { MANIFEST_ACCEPT } from '../../src/oci/manifest.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { createHub, everywhere } from '../support/hub/create-hub.ts'
import type { Hub } from '../support/hub/hub.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'

const accept = MANIFEST_ACCEPT.join(', ')

describe('a node with a directory store, alone', () => {
  let hub: Hub
  let image: Image
  let nabo: TestDaemon
  let directory: string

  before(async () => {
    image = makeImage({
      layers: [
        { size: 3_000_000, seed: 'a' },
        { size: 50_000, seed: 'b' },
      ],
      multiArch: true,
    })
    hub = await createHub({
      users: [{ name: 'ann', password: 'kept-to-herself', mayPull: ['org/hidden'] }],
      privateRepositories: ['org/hidden'],
    })
    await hub.publish('app', '1', image)
    await hub.publish('org/hidden', '1', image)
  })
  after(() => hub.close())
  beforeEach(async () => {
    await hub.reset()
    directory = await mkdtemp(join(tmpdir(), 'nabo-cache-'))
    nabo = await start()
  })
  afterEach(async () => {
    await nabo.stop()
    await rm(directory, { recursive: true, force: true })
  })

  const start = (flags: string[] = []) =>
    runDaemon(['--upstream', `docker.io=${hub.registryUrl}`, ...flags], { directory })
  const ask = (path: string, options: RequestInit = {}) =>
    fetch(`${nabo.mirror}${path}`, {
      ...options,
      headers: { accept, ...(options.headers as Record<string, string> | undefined) },
    })
  const layer = () => image.layers[0] as Image['layers'][number]
  const blobPath = () => `/v2/library/app/blobs/${layer().descriptor.digest}`

  async function pullAll(repository = 'library/app'): Promise<void> {
    const root = await ask(`/v2/${repository}/manifests/1`)
    assert.equal(root.status, 200, await root.clone().text())
    const digests: string[] = [image.manifest.descriptor.digest]
    for (const digest of digests) assert.equal((await ask(`/v2/${repository}/manifests/${digest}`)).status, 200)
    for (const content of [image.config, ...image.layers]) {
      const response = await ask(`/v2/${repository}/blobs/${content.descriptor.digest}`)
      assert.equal(response.status, 200)
      assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), content.descriptor.digest)
    }
  }

  it('gives an image with the headers that containerd needs', async () => {
    const head = await ask('/v2/library/app/manifests/1?ns=docker.io', { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.equal(head.headers.get('docker-content-digest'), image.root.descriptor.digest)
    assert.equal(head.headers.get('content-length'), String(image.root.descriptor.size))
    assert.equal(head.headers.get('oci-namespace'), 'docker.io')
    await pullAll()
  })

  it('asks Docker Hub for each blob and manifest once', async () => {
    await pullAll()
    await eventually('the cache holds all', async () => (await nabo.status()).blobs === image.layers.length + 3)
    const first = await hub.counters()
    await pullAll()
    const second = await hub.counters()
    assert.equal(second.manifestGets, first.manifestGets)
    assert.equal(second.blobGets, first.blobGets)
  })

  it('fills a blob once for clients that come at the same time', async () => {
    await hub.setFaults({ cdn: { bytesPerSecond: 6_000_000 } })
    const bodies = await Promise.all(Array.from({ length: 5 }, async () => (await ask(blobPath())).arrayBuffer()))
    for (const body of bodies) assert.equal(digestOf(new Uint8Array(body)), layer().descriptor.digest)
    assert.equal((await hub.counters()).blobs[layer().descriptor.digest]?.bytes, layer().descriptor.size)
  })

  it('still gives what it holds when Docker Hub is down, by tag too, also after a restart', async () => {
    await pullAll()
    await eventually('the cache holds all', async () => (await nabo.status()).blobs === image.layers.length + 3)
    await hub.setFaults(everywhere({ down: true }))
    await pullAll()
    await nabo.stop()
    nabo = await start()
    await pullAll()
  })

  it('serves ranges, from the cache and before it is filled', async () => {
    const { bytes } = layer()
    for (const round of ['cold', 'warm']) {
      const response = await ask(blobPath(), { headers: { range: 'bytes=1000-1999' } })
      assert.equal(response.status, 206, round)
      assert.equal(response.headers.get('content-range'), `bytes 1000-1999/${bytes.length}`)
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.from(bytes.subarray(1000, 2000)))
      const tail = await ask(blobPath(), { headers: { range: 'bytes=-10' } })
      assert.deepEqual(Buffer.from(await tail.arrayBuffer()), Buffer.from(bytes.subarray(-10)))
      const beyond = await ask(blobPath(), { headers: { range: `bytes=${bytes.length}-` } })
      assert.equal(beyond.status, 416)
      assert.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`)
      await (await ask(blobPath())).arrayBuffer()
      await eventually('the blob is in the cache', async () => (await nabo.status()).blobs === 1)
    }
  })

  it('goes on filling when the client that began it has left', async () => {
    await hub.setFaults({ cdn: { bytesPerSecond: 4_000_000 } })
    const client = new AbortController()
    const response = await ask(blobPath(), { signal: client.signal })
    await response.body?.getReader().read()
    client.abort()
    await eventually('the blob is in the cache', async () => (await nabo.status()).blobs === 1)
    const { gets, bytes } = (await hub.counters()).blobs[layer().descriptor.digest] ?? {}
    assert.deepEqual({ gets, bytes }, { gets: 1, bytes: layer().descriptor.size })
    assert.equal(nabo.requests().at(-1)?.['outcome'], 'client-gone')
  })

  it('goes past a fill for a range far ahead of it', async () => {
    await hub.setFaults({ cdn: { bytesPerSecond: 400_000 } })
    const first = await ask(blobPath())
    const ahead = await ask(blobPath(), { headers: { range: `bytes=${layer().bytes.length - 100}-` } })
    assert.deepEqual(Buffer.from(await ahead.arrayBuffer()), Buffer.from(layer().bytes.subarray(-100)))
    await hub.setFaults({ cdn: {} })
    assert.equal(digestOf(new Uint8Array(await first.arrayBuffer())), layer().descriptor.digest)
  })

  it('still takes part with a fill when what went past it is over', async () => {
    await hub.setFaults({ cdn: { bytesPerSecond: 400_000 } })
    const first = await ask(blobPath())
    const ahead = await ask(blobPath(), { headers: { range: `bytes=${layer().bytes.length - 100}-` } })
    await ahead.arrayBuffer()
    const { swarm } = (await nabo.status()) as unknown as { swarm: { participations: number; leases: number } }
    assert.deepEqual([swarm.participations, swarm.leases], [1, 1])
    await hub.setFaults({ cdn: {} })
    await first.arrayBuffer()
  })

  it('goes on at the same byte when the upstream breaks off', async () => {
    await hub.setFaults({ cut: { afterBytes: 1_000_000, times: 2 } })
    const response = await ask(blobPath())
    assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), layer().descriptor.digest)
  })

  it('streams a blob past a cache that is too small for it', async () => {
    await nabo.stop()
    nabo = await start(['--cache-size', '1MB'])
    const response = await ask(blobPath())
    assert.equal(digestOf(new Uint8Array(await response.arrayBuffer())), layer().descriptor.digest)
    const { bytes } = layer()
    const ranged = (range: string) => ask(blobPath(), { headers: { range } })
    for (const [range, start] of [
      [`bytes=${bytes.length - 500}-`, bytes.length - 500],
      ['bytes=-300', bytes.length - 300],
    ] as const) {
      const part = await ranged(range)
      assert.equal(part.status, 206)
      assert.deepEqual(Buffer.from(await part.arrayBuffer()), Buffer.from(bytes.subarray(start)))
    }
    const beyond = await ranged(`bytes=${bytes.length}-`)
    assert.equal(beyond.status, 416)
    assert.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`)
  })

  it('never lets wrong bytes look complete, and gives the right ones on the next try', async () => {
    await hub.setFaults({ corrupt: [layer().descriptor.digest] })
    const response = await ask(blobPath())
    await assert.rejects(response.arrayBuffer())
    await hub.setFaults({ corrupt: [] })
    const again = await ask(blobPath())
    assert.equal(digestOf(new Uint8Array(await again.arrayBuffer())), layer().descriptor.digest)
  })

  it('answers 404 with a reason when Docker Hub refuses, never 429', async () => {
    await hub.setFaults({ registry: { status: 429, text: 'Too Many Requests' } })
    for (const path of [
      '/v2/library/app/manifests/1',
      blobPath(),
      `/v2/library/app/manifests/${image.manifest.descriptor.digest}`,
    ]) {
      const response = await ask(path)
      assert.equal(response.status, 404)
      const body = (await response.json()) as { errors: { message: string }[] }
      assert.match(body.errors[0]?.message ?? '', /no node (has|knows) it, and .* limits requests/)
    }
  })

  it('passes tag lists and referrers on, with links that lead back here', async () => {
    await hub.retag('app', '2', image.root.descriptor.digest)
    const list = await ask('/v2/library/app/tags/list?n=1')
    assert.deepEqual(((await list.json()) as { tags: string[] }).tags, ['1'])
    const link = /<([^>]+)>/.exec(list.headers.get('link') ?? '')?.[1] ?? ''
    assert.deepEqual(((await (await ask(link)).json()) as { tags: string[] }).tags, ['2'])
    assert.equal((await ask(`/v2/library/app/referrers/${image.manifest.descriptor.digest}`)).status, 200)
  })

  it('gives an image that needs credentials only when it has them', async () => {
    assert.equal((await ask('/v2/org/hidden/manifests/1')).status, 401)
    const { writeFile } = await import('node:fs/promises')
    const file = join(directory, 'config.json')
    await writeFile(
      file,
      JSON.stringify({
        auths: { 'https://index.docker.io/v1/': { auth: Buffer.from('ann:kept-to-herself').toString('base64') } },
      }),
    )
    await nabo.stop()
    nabo = await start(['--credentials-file', file])
    await pullAll('org/hidden')
    assert.ok(!JSON.stringify(nabo.lines).includes('kept-to-herself'))
  })
})
