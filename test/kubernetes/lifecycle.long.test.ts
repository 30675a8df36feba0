// The life of an installation on a real Kubernetes: updates, outages and removal, while pods pull images.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { Image } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import { everywhere, pod, rolledOut, running, warnings } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false

describe('an installation', { skip }, () => {
  let cluster: KubernetesCluster
  let filesBefore: readonly unknown[]

  before(async () => {
    cluster = await startCluster()
    filesBefore = await cluster.containerdFiles()
    await cluster.bringUp()
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  const publish = async (name: string, layers = [20_000_000, 20_000_000]): Promise<Image> => {
    const image = sleeper(cluster.programs.busybox, { seed: name, layers })
    await cluster.registries.hub.publish(name, '1', image)
    return image
  }
  const imageOf = (name: string) => `docker.io/library/${name}:1`
  /** Three rollouts, one after the other, none of which has a warning. */
  const rollouts = async (name: string) => {
    for (const round of ['a', 'b', 'c']) {
      await publish(`${name}-${round}`)
      await cluster.apply(everywhere(`${name}-${round}`, { image: imageOf(`${name}-${round}`) }))
      await rolledOut(cluster, `${name}-${round}`)
    }
    assert.deepEqual(await warnings(cluster, 'default', name), [])
  }
  const helm = async (...args: readonly string[]) => {
    const { code, stderr } = await cluster.helm([...args, '--namespace', 'nabo'])
    assert.equal(code, 0, stderr)
  }

  it('is updated while pods pull', async () => {
    await cluster.startNabo({ logLevel: 'debug' })
    await rollouts('update')
    await cluster.naboReady()
    await cluster.together()
  })

  it('is rolled back while pods pull', async () => {
    await helm('rollback', 'nabo', '1')
    await rollouts('rollback')
    await cluster.naboReady()
    await cluster.together()
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })

  it('comes back with its node', async () => {
    await publish('reboot')
    await cluster.apply(pod('before-reboot', { image: imageOf('reboot'), node: 'node-0' }))
    await running(cluster, 'before-reboot')
    const worker = cluster.worker(2)
    await worker.powerOff()
    await publish('meanwhile')
    await cluster.apply(pod('meanwhile', { image: imageOf('meanwhile'), node: 'node-1' }))
    await running(cluster, 'meanwhile')
    await worker.powerOn()
    await eventually(
      'its daemon runs again',
      async () => (await cluster.naboOn(worker)).status.containerStatuses[0]?.ready === true && (await answers(2)),
      { timeoutMs: 120_000, everyMs: 500 },
    )
    await cluster.together()
    await cluster.registries.hub.reset()
    for (const name of ['reboot', 'meanwhile']) {
      await cluster.apply(pod(`${name}-2`, { image: imageOf(name), node: worker.name }))
      await running(cluster, `${name}-2`)
    }
    assert.equal((await cluster.registries.hub.counters()).blobGets, 0)
  })

  it('finds its neighbours again while the DNS of the cluster is down', async () => {
    await cluster.kubectl.run(['-n', 'kube-system', 'scale', 'deployment/coredns', '--replicas=0'])
    await eventually('the DNS is gone', async () => (await cluster.pods('-n', 'kube-system')).length === 0)
    const { metadata } = await cluster.naboOn(cluster.worker(1))
    await cluster.kubectl.run(['-n', 'nabo', 'delete', 'pod', metadata.name])
    await cluster.naboReady()
    await cluster.together()
    // All at once, too.
    await cluster.kubectl.run(['-n', 'nabo', 'delete', 'pods', '--all'])
    await cluster.naboReady()
    await cluster.together()
    await cluster.addDns()
  })

  it('is removed while pods pull', async () => {
    await publish('removal', [40_000_000, 40_000_000])
    await cluster.apply(everywhere('removal', { image: imageOf('removal') }))
    await cluster.uninstallNabo()
    await rolledOut(cluster, 'removal')
    assert.deepEqual(await warnings(cluster, 'default', 'removal'), [])
    await cluster.naboGone()
    assert.deepEqual(await cluster.containerdFiles(), filesBefore)
  })

  it('is removed while a node is down, and that node pulls all the same', async () => {
    await cluster.installNabo()
    const worker = cluster.worker(2)
    await worker.powerOff()
    await cluster.uninstallNabo()
    await cluster.naboGone()
    assert.deepEqual((await cluster.containerdFiles()).slice(0, 2), filesBefore.slice(0, 2))
    await worker.powerOn()
    await eventually('the pod of the node is gone', async () => (await cluster.naboPods()).length === 0, {
      timeoutMs: 120_000,
      everyMs: 500,
    })
    await publish('orphan')
    await cluster.apply(pod('orphan', { image: imageOf('orphan'), node: worker.name }))
    await running(cluster, 'orphan')
    // Nothing ran there that could have tidied up. The next installation does it.
    await cluster.installNabo()
    await cluster.uninstallNabo()
    await cluster.naboGone()
    assert.deepEqual(await cluster.containerdFiles(), filesBefore)
  })

  /** The status of a pod may be that of before a reboot. */
  const answers = (number: number) =>
    cluster.nabo(cluster.worker(number), 'status').then(
      () => true,
      () => false,
    )
})
