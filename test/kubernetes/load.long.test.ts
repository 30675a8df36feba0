// A real Kubernetes whose nodes are busy: no healthy daemon is taken for one that is frozen.
import assert from 'node:assert/strict'
import { loadavg } from 'node:os'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import { busyLoops, everywhere, rolledOut } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false
const LOOPS_PER_NODE = 4
const BUSY_MS = 120_000

describe('Nabo on busy nodes', { skip }, () => {
  let cluster: KubernetesCluster

  before(async () => {
    cluster = await startCluster()
    await cluster.bringUp()
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  it('is not restarted by its probes, and serves', async (t) => {
    const { busybox } = cluster.programs
    await cluster.registries.hub.publish('busy', '1', sleeper(busybox, { seed: 'busy' }))
    await cluster.apply(busyLoops('busy', { image: 'docker.io/library/busy:1', loops: LOOPS_PER_NODE }))
    await rolledOut(cluster, 'busy')
    const ends = performance.now() + BUSY_MS
    for (let round = 0; performance.now() < ends; round += 1) {
      const name = `during-${round}`
      await cluster.registries.hub.publish(name, '1', sleeper(busybox, { seed: name, layers: [10_000_000] }))
      await cluster.apply(everywhere(name, { image: `docker.io/library/${name}:1` }))
      await rolledOut(cluster, name)
      await cluster.kubectl.run(['delete', 'daemonset', name, '--wait=false'])
      t.diagnostic(`rollout ${round + 1} at load ${loadavg()[0]?.toFixed(1)}`)
      await sleep(10_000)
    }
    const statuses = (await cluster.naboPods()).flatMap(({ status }) => status.containerStatuses)
    assert.deepEqual(
      statuses.map(({ restartCount }) => restartCount),
      cluster.workers.map(() => 0),
    )
  })
})
