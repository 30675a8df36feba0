// The chart without host networking: the daemons are in the network of pods, and their mirrors behind a host port of each node.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import { everywhere, rolledOut, warnings } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false

describe('Nabo in the network of pods', { skip }, () => {
  let cluster: KubernetesCluster
  let filesBefore: readonly unknown[]

  before(async () => {
    cluster = await startCluster()
    filesBefore = await cluster.containerdFiles()
    await cluster.bringUp({ hostNetwork: false })
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  it('serves its own node', async () => {
    await cluster.registries.hub.reset()
    const image = sleeper(cluster.programs.busybox, { seed: 'pods', layers: [5_000_000] })
    await cluster.registries.hub.publish('app', '1', image)
    await cluster.apply(everywhere('pods', { image: 'docker.io/library/app:1' }))
    await rolledOut(cluster, 'pods')
    assert.deepEqual(
      await cluster.copiesOf(image),
      image.blobs.map(() => 1),
    )
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })

  it('serves no other node at the address of its pod', async () => {
    const [own, other] = [cluster.worker(0), cluster.worker(1)]
    const { status } = await cluster.naboOn(own)
    const mirror = `http://${status.podIP}:7950/v2/`
    assert.equal((await own.node.fetch('http://127.0.0.1:7950/v2/')).status, 200)
    await assert.rejects(other.node.fetch(mirror), /ECONNRESET|other side closed|terminated/)
    // The other listeners are there for other nodes.
    assert.equal((await other.node.fetch(`http://${status.podIP}:7954/livez`)).status, 200)
  })

  it('leaves the nodes as they were, without a warning', async () => {
    await cluster.uninstallNabo()
    await cluster.naboGone()
    assert.deepEqual(await cluster.containerdFiles(), filesBefore)
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })

  it('starts and ends without a warning where it does not configure containerd', async () => {
    await cluster.installNabo({ configure: { enabled: false } })
    await cluster.together()
    assert.deepEqual(await cluster.containerdFiles(), filesBefore)
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
    await cluster.uninstallNabo()
    await cluster.naboGone()
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })
})
