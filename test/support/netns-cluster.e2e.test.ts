import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { type Image, makeImage } from './image-maker.ts'
import { runSync } from './netns/commands.ts'
import { type Cluster, clusterUnavailable, createCluster } from './netns-cluster.ts'

const unavailable = await clusterUnavailable()

describe('a cluster of network namespaces', { skip: unavailable }, () => {
  let cluster: Cluster
  let image: Image

  before(async () => {
    image = makeImage({
      layers: [
        { size: 3_000_000, seed: 1 },
        { size: 1_000_000, seed: 2, compressible: true },
        { size: 10_000, seed: 3, compression: 'none' },
      ],
      multiArch: true,
      attestations: true,
    })
    cluster = await createCluster({ nodes: 2, rate: '800mbit' })
    await cluster.hub.publish('app', '1', image)
    await cluster.node(0).startContainerd()
  })
  after(() => cluster.dispose())

  it('lets its nodes reach each other and the hub, and nothing else', async () => {
    const [a, b] = [cluster.node(0), cluster.node(1)]
    const server = b.spawn(process.execPath, [
      '-e',
      `require('http').createServer((q, s) => s.end('b')).listen(80, '::')`,
    ])
    await assert.doesNotReject(reach(() => a.fetch(`http://${b.ip}/`)))
    await assert.doesNotReject(reach(() => a.fetch(`http://[${b.ip6}]/`)))
    await server.kill()
    assert.equal((await a.fetch(`${cluster.hubUrl}/v2/`)).status, 401)
    await assert.rejects(a.fetch('http://192.0.2.1/'), /ENETUNREACH/)
  })

  it('pulls, unpacks and removes an image through a real containerd', async () => {
    const node = cluster.node(0)
    const pulled = await node.pull('docker.io/library/app:1', { withoutNabo: true })
    assert.equal(pulled.code, 0, pulled.stderr)
    for (const layer of image.layers)
      assert.equal(await node.blobSha256(layer.descriptor.digest), layer.descriptor.digest)
    const { manifestGets, blobs } = await cluster.hub.counters()
    assert.equal(manifestGets, 2)
    for (const { descriptor } of image.layers)
      assert.deepEqual(blobs[descriptor.digest], { gets: 1, bytes: descriptor.size })
    assert.equal((await node.remove('docker.io/library/app:1')).code, 0)
    await assert.rejects(node.blobSha256(image.manifest.descriptor.digest))
  })

  it('can leave containerd without a fallback', async () => {
    const pulled = await cluster.node(0).pull('docker.io/library/app:1', { fallback: 'nobody' })
    assert.notEqual(pulled.code, 0)
  })

  it('leaves no namespace behind', async () => {
    const another = await createCluster({ nodes: 1 })
    const name = another.node(0).host.netns
    assert.ok(runSync('ip', 'netns', 'list').includes(name))
    await another.dispose()
    assert.ok(!runSync('ip', 'netns', 'list').includes(name))
  })
})

async function reach(ask: () => Promise<{ status: number }>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      assert.equal((await ask()).status, 200)
      return
    } catch (error) {
      if (tries === 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
