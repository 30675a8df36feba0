import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { ClusterNode } from '../support/cluster-node.ts'
import { chosenVariant } from '../support/containerd.ts'
import { everywhere } from '../support/hub/create-hub.ts'
import { type Image, makeImage, toOciTar } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'

/** Each chunk is then a request. */
const { parallelFetch } = chosenVariant()
const skip = (await clusterUnavailable()) ?? false
const IMAGE = 'docker.io/library/app:1'

describe('real containerds with a Nabo each', { skip }, () => {
  let image: Image
  let cluster: Cluster
  let nabos: NaboProcess[]

  beforeEach(() => {
    image = makeImage({
      layers: [
        { size: 5_000_000, seed: 'a' },
        { size: 2_000_000, seed: 'b' },
      ],
      multiArch: true,
    })
  })
  afterEach(async () => {
    await cluster?.dispose()
  })

  async function start(nodes: number, options: { rate?: string; flags?: readonly string[] } = {}): Promise<void> {
    cluster = await createCluster({
      nodes,
      hub: { quota: { anonymous: 100 } },
      ...(options.rate === undefined ? {} : { rate: options.rate }),
    })
    await cluster.hub.publish('app', '1', image)
    await Promise.all(cluster.nodes.map((node) => node.startContainerd()))
    nabos = cluster.nodes.map((node) => node.startNabo(options.flags))
    await Promise.all(nabos.map((nabo) => nabo.ready()))
    await eventually('all nodes know each other', async () => {
      const counts = await Promise.all(nabos.map((nabo) => nabo.metric('nabo_index_members_heard')))
      return counts.every((count) => count === nodes - 1)
    })
  }
  const nabo = (number: number) => nabos[number] as NaboProcess
  /** All that a node pulled is known to the others. */
  const announced = (number: number) =>
    eventually('its content is announced', async () => {
      const [blobs, keys, inSync] = await Promise.all(
        ['nabo_store_blobs', 'nabo_index_own_keys', 'nabo_index_peers_in_sync'].map((name) =>
          nabo(number).metric(name),
        ),
      )
      const held = image.layers.length + (image.index === undefined ? 2 : 3)
      // One key more than blobs: the tag, which containerd names last. From 2.1 on it takes what other platforms have besides layers.
      assert.ok((blobs ?? 0) >= held && keys === (blobs ?? 0) + 1 && inSync === nabos.length - 1)
      return true
    })
  async function pulled(
    node: ClusterNode,
    reference = IMAGE,
    options: Parameters<ClusterNode['pull']>[1] = {},
  ): Promise<void> {
    const result = await node.pull(reference, options)
    assert.equal(result.code, 0, `${result.stderr}\n${nabos[cluster.nodes.indexOf(node)]?.logs.slice(-20).join('\n')}`)
    for (const { descriptor } of [image.config, ...image.layers])
      assert.equal(await node.blobSha256(descriptor.digest), descriptor.digest)
  }

  it('send to Docker Hub for each blob once, and for manifests only on the first pull', async () => {
    await start(3)
    await pulled(cluster.node(0))
    const first = await cluster.hub.counters()
    await announced(0)
    await pulled(cluster.node(1))
    await announced(1)
    await pulled(cluster.node(2))
    const last = await cluster.hub.counters()
    assert.equal(last.manifestGets, first.manifestGets)
    for (const { descriptor } of [image.config, ...image.layers]) {
      const { digest, size } = descriptor
      assert.deepEqual(last.blobs[digest], first.blobs[digest], digest)
      if (!parallelFetch) assert.deepEqual(last.blobs[digest], { gets: 1, bytes: size }, digest)
    }
    assert.ok(
      nabo(2)
        .requests()
        .some((line) => line.kind === 'blob' && line.source === 'peer'),
    )
  })

  it('pull by tag and by digest while Docker Hub is down', async () => {
    await start(3)
    await pulled(cluster.node(0))
    await announced(0)
    await cluster.hub.setFaults(everywhere({ down: true }))
    await pulled(cluster.node(1), IMAGE, { fallback: 'nobody' })
    await pulled(cluster.node(2), `docker.io/library/app@${image.root.descriptor.digest}`, { fallback: 'nobody' })
  })

  it('end a pull well when the peer is killed in the middle of a 200 MB layer', async () => {
    image = makeImage({ layers: [{ size: 200_000_000, seed: 'large' }] })
    await start(3, { rate: '400mbit' })
    const layer = image.layers[0]?.descriptor
    assert.ok(layer)
    await pulled(cluster.node(0))
    await announced(0)
    const pull = cluster.node(1).pull(IMAGE)
    await eventually('a good part has come from the peer', async () => {
      const [sent] = await receivedBytes(cluster.node(1))
      return (sent ?? 0) > 60_000_000
    })
    await nabo(0).kill()
    const result = await pull
    assert.equal(result.code, 0, result.stderr)
    assert.equal(await cluster.node(1).blobSha256(layer.digest), layer.digest)
    if (parallelFetch) return
    const line = nabo(1)
      .requests()
      .find(({ digest }) => digest === layer.digest)
    assert.equal(line?.status, 200)
    const shares = line?.shares ?? []
    assert.deepEqual(
      shares.map(({ source }) => source),
      ['peer', 'upstream'],
    )
    assert.equal(
      shares.reduce((sum, share) => sum + share.bytes, 0),
      layer.size,
    )
  })

  it('offer an imported image, which never came from a registry', async () => {
    image = makeImage({ layers: [{ size: 300_000, seed: 'imported' }] })
    await start(3)
    const tar = `${cluster.directory}/image.tar`
    await writeFile(tar, toOciTar(image, 'docker.io/org/airgap:1'))
    const imported = await cluster.node(0).containerd.importTar('k8s.io', tar)
    assert.equal(imported.code, 0, imported.stderr)
    await announced(0)
    await cluster.hub.setFaults(everywhere({ down: true }))
    // Content counts as imported once containerd has had the time to label it, were it from a registry.
    await eventually('it is given to the second node', async () => {
      await pulled(cluster.node(1), 'docker.io/org/airgap:1', { fallback: 'nobody' })
      return true
    })
    await announced(1)
    // Nobody can ask a registry about it, so the second holder must know from the first that it may be shared.
    await nabo(0).kill()
    nabos = nabos.slice(1)
    await pulled(cluster.node(2), 'docker.io/org/airgap:1', { fallback: 'nobody' })
  })

  it('go on without a Nabo that is gone', async () => {
    await start(1)
    await nabo(0).kill()
    await pulled(cluster.node(0))
  })
})

/** What came in on a node's link so far. */
async function receivedBytes(node: ClusterNode): Promise<number[]> {
  const { stdout } = await node.exec('cat', ['/proc/net/dev'])
  return stdout
    .split('\n')
    .filter((line) => line.includes(':') && !line.trim().startsWith('lo:'))
    .map((line) => Number(line.split(':')[1]?.trim().split(/\s+/)[0]))
    .filter((bytes) => bytes > 0)
}
