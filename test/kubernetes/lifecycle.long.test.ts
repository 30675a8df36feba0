// The life of an installation on a real Kubernetes: updates, outages and removal, while pods pull images.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'

import type { Image } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { type KubernetesCluster, NABO } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import { everywhere, pod, rolledOut, running, warnings } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false
/** A layer of 20 MB takes 20 s, longer than Helm. */
const SLOW_BYTES_PER_SECOND = 1_000_000

describe('an installation', { skip }, () => {
  let cluster: KubernetesCluster
  let filesBefore: readonly unknown[]

  before(async () => {
    cluster = await startCluster()
    filesBefore = await cluster.containerdFiles()
    await cluster.bringUp()
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  const publish = async (name: string): Promise<Image> => {
    const image = sleeper(cluster.programs.busybox, { seed: name, layers: [20_000_000, 20_000_000] })
    await cluster.registries.hub.publish(name, '1', image)
    return image
  }
  const imageOf = (name: string) => `docker.io/library/${name}:1`
  /** Starts a rollout on every node, and does `work` while a blob is on its way from the registry. Returns when every pod runs. */
  const duringPulls = async (name: string, work: () => Promise<void>) => {
    const { hub } = cluster.registries
    await publish(name)
    await hub.reset()
    await hub.setFaults({ cdn: { bytesPerSecond: SLOW_BYTES_PER_SECOND } })
    const open = async () => (await hub.transfers()).filter(({ ended }) => ended === undefined)
    await cluster.apply(everywhere(name, { image: imageOf(name) }))
    await eventually('a blob is on its way from the registry', async () => (await open()).length > 0)
    await work()
    assert.ok((await open()).length > 0, 'no blob was on its way any more')
    await hub.setFaults({ cdn: {} })
    await rolledOut(cluster, name)
    assert.deepEqual(await warnings(cluster, 'default', name), [])
  }
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
    await duringPulls('updating', async () => {
      const { code, stderr } = await cluster.startNabo({
        image: { repository: NABO.repository, tag: NABO.next },
        logLevel: 'debug',
      })
      assert.equal(code, 0, stderr)
      await eventually('a pod is replaced', async () =>
        (await cluster.naboPods()).some(({ metadata }) => metadata.deletionTimestamp !== undefined),
      )
    })
    await rollouts('update')
    await cluster.naboReady()
    await cluster.together()
    const images = (await cluster.naboPods()).map(({ status }) => status.containerStatuses[0]?.image)
    assert.deepEqual(images, Array(cluster.workers.length).fill(`${NABO.repository}:${NABO.next}`))
  })

  it('is rolled back while pods pull', async () => {
    await duringPulls('rolling-back', () => helm('rollback', 'nabo', '1'))
    await rollouts('rollback')
    await cluster.naboReady()
    await cluster.together()
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })

  it('stays on a node that is drained, and serves its neighbours', async () => {
    const worker = cluster.worker(2)
    const before = await cluster.naboOn(worker)
    const drain = ['drain', worker.name, '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=60s']
    await cluster.kubectl.run(drain, { timeoutMs: 70_000 })
    const after = await cluster.naboOn(worker)
    assert.equal(after.metadata.uid, before.metadata.uid)
    assert.equal(after.status.containerStatuses[0]?.ready, true)
    await cluster.together()
    await cluster.kubectl.run(['uncordon', worker.name])
  })

  it('comes back with its node', async () => {
    await publish('reboot')
    await cluster.apply(pod('before-reboot', { image: imageOf('reboot'), node: 'node-0' }))
    await running(cluster, 'before-reboot')
    const worker = cluster.worker(2)
    const members = worker.node.outside('/run/nabo/members.json')
    await eventually('it has written down its neighbours', () => existsSync(members))
    await worker.powerOff()
    assert.ok(!existsSync(members), 'what is in /run ends with the node')
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
    await duringPulls('removal', async () => {
      await cluster.uninstallNabo()
      await eventually('a pod is removed', async () =>
        (await cluster.naboPods()).some(({ metadata }) => metadata.deletionTimestamp !== undefined),
      )
    })
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
