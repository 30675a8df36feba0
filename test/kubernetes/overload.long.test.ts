// Rollouts of three images at once to nodes whose processors are busy.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import { everywhere, rolledOut } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false
const ROUNDS = 3
const IMAGES = ['a', 'b', 'c'] as const
const LAYERS = [15_000_000, 15_000_000]
/** On each node. */
const PROGRAMS = 2

describe('busy nodes', { skip }, () => {
  let cluster: KubernetesCluster

  before(async () => {
    cluster = await startCluster()
    await cluster.addDnsService()
    await cluster.addNetwork()
    await cluster.addDns()
    await cluster.installNabo()
    await cluster.together()
    const { hub } = cluster.registries
    await hub.publish('busy', '1', sleeper(cluster.programs.busybox, { seed: 'busy' }))
    await cluster.apply(busy(PROGRAMS))
    await rolledOut(cluster, 'busy')
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  it('get three images at once, and the kubelet ends no daemon that is only slow', async (t) => {
    const { hub } = cluster.registries
    const copies: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const images = IMAGES.map((name) =>
        sleeper(cluster.programs.busybox, { seed: `${round} ${name}`, layers: LAYERS }),
      )
      for (const [i, name] of IMAGES.entries()) await hub.publish(`${name}-${round}`, '1', images[i] ?? assert.fail())
      await hub.reset()
      const names = IMAGES.map((name) => `${name}-${round}`)
      await cluster.apply(...names.map((name) => everywhere(name, { image: `docker.io/library/${name}:1` })))
      for (const name of names) await rolledOut(cluster, name)
      // The program in the first layer is the same in all of them, and has been there since the first round.
      const layers = images.flatMap((image) => image.layers.slice(1).map(({ descriptor }) => descriptor))
      const { blobs } = await hub.counters()
      const sent = layers.reduce((sum, { digest }) => sum + (blobs[digest]?.bytes ?? 0), 0)
      copies.push(sent / layers.reduce((sum, { size }) => sum + size, 0))
      t.diagnostic(`round ${round}: ${copies.at(-1)?.toFixed(2)} copies left the registry`)
      for (const name of names) {
        await cluster.kubectl.run(['delete', 'daemonset', name, '--wait=false'])
        await hub.remove(name)
      }
    }
    const median = copies.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? assert.fail()
    t.diagnostic(`median ${median.toFixed(2)}`)
    assert.ok(median <= 1.2, `the median rollout took ${median} copies`)
    const restarts = (await cluster.naboPods()).map(({ status }) => status.containerStatuses[0]?.restartCount)
    assert.deepEqual(restarts, [0, 0, 0])
  })
})

/** Programs that only calculate, each with as much right to the processors as Nabo asks for. */
function busy(programs: number): object {
  const labels = { app: 'busy' }
  const container = (name: string) => ({
    name,
    image: 'docker.io/library/busy:1',
    command: ['/bin/busybox', 'sh', '-c', 'while :; do :; done'],
    resources: { requests: { cpu: '100m' } },
  })
  const spec = {
    terminationGracePeriodSeconds: 0,
    containers: Array.from({ length: programs }, (_, i) => container(`program-${i}`)),
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'busy' },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  }
}
