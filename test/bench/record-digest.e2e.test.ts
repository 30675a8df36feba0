import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { makeVersions } from '../../bench/compare/images.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'

const unavailable = await clusterUnavailable()

describe('a pull’s record by digest', { skip: unavailable }, () => {
  const { first } = makeVersions({ megabytes: 1, layers: 1 })
  const image = `docker.io/${first.name}`
  const { digest } = first.image.root.descriptor
  let cluster: Cluster

  before(async () => {
    cluster = await createCluster({ nodes: 1 })
    await cluster.hub.publish(first.repository, first.tag, first.image)
    await cluster.node(0).startContainerd()
  })
  after(() => cluster.dispose())

  it('cannot be had before the image', async () => {
    await assert.rejects(cluster.node(0).recordDigest(image, digest), /node-0 has no docker\.io\/bench\/app-0@sha256:/)
  })

  it('stands beside its tag, and stays when it is there', async () => {
    const node = cluster.node(0)
    const pull = await node.pull(image, { withoutNabo: true, unpack: false })
    assert.equal(pull.code, 0, pull.stderr)
    await node.recordDigest(image, digest)
    await node.recordDigest(image, digest)
    const { stdout } = await node.containerd.ctr('--namespace', 'k8s.io', 'images', 'list')
    const images = stdout.trim().split('\n').slice(1)
    assert.deepEqual(
      images.map((line) => line.split(/\s+/)).map(([name, , target]) => [name, target]),
      [
        [image, digest],
        [`docker.io/${first.repository}@${digest}`, digest],
      ],
    )
  })
})
