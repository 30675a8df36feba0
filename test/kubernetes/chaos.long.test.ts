// Rollouts on a real Kubernetes, during each of which something breaks.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import { sleeper } from './support/registries.ts'
import type { Worker } from './support/worker.ts'
import { everywhere, rolledOut } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false
const ROUNDS = 2
const PAUSE_MS = 5000

type Fault = (cluster: KubernetesCluster, worker: Worker) => Promise<void>

const daemonOf = (worker: Worker): number => {
  const [pid] = worker.pidsOf('nabo serve')
  if (pid === undefined) throw new Error(`no daemon runs on ${worker.name}`)
  return pid
}

const FAULTS: Readonly<Record<string, Fault>> = {
  'nothing breaks': async () => {},
  'a daemon is killed': async (_, worker) => {
    process.kill(daemonOf(worker), 'SIGKILL')
  },
  'a pod of Nabo is deleted': async (cluster, worker) => {
    const { metadata } = await cluster.naboOn(worker)
    await cluster.kubectl.run(['-n', 'nabo', 'delete', 'pod', metadata.name, '--wait=false'])
  },
  'all daemons are replaced': async (cluster) => {
    await cluster.kubectl.run(['-n', 'nabo', 'rollout', 'restart', 'daemonset/nabo'])
  },
  'containerd is started again': async (_, worker) => {
    await worker.restartContainerd()
  },
  'a daemon stands still for five seconds': async (_, worker) => {
    const pid = daemonOf(worker)
    process.kill(pid, 'SIGSTOP')
    await sleep(PAUSE_MS)
    process.kill(pid, 'SIGCONT')
  },
  'the kubelet is started again': async (_, worker) => {
    await worker.stopKubelet()
    await worker.startKubelet()
  },
  'the DNS of the cluster is replaced': async (cluster) => {
    await cluster.kubectl.run(['-n', 'kube-system', 'delete', 'pods', '-l', 'k8s-app=kube-dns', '--wait=false'])
  },
  'a node is cut off for five seconds': async (_, worker) => {
    worker.node.host.setLink('down')
    await sleep(PAUSE_MS)
    worker.node.host.setLink('up')
  },
}

describe('a rollout', { skip }, () => {
  let cluster: KubernetesCluster

  before(async () => {
    cluster = await startCluster()
    await cluster.bringUp()
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  for (let round = 0; round < ROUNDS; round += 1)
    for (const [i, [what, fault]] of Object.entries(FAULTS).entries())
      it(`ends everywhere when ${what} (${round + 1} of ${ROUNDS})`, async (t) => {
        const name = `chaos-${round}-${i}`
        const image = sleeper(cluster.programs.busybox, {
          seed: name,
          layers: Array.from({ length: 3 }, () => 20_000_000),
        })
        await cluster.registries.hub.publish(name, '1', image)
        await cluster.registries.hub.reset()
        await cluster.apply(everywhere(name, { image: `docker.io/library/${name}:1`, pullPolicy: 'Always' }))
        await sleep(Math.random() * 1000)
        await fault(cluster, cluster.worker((round + i) % cluster.workers.length))
        await rolledOut(cluster, name)
        const { blobBytes } = await cluster.registries.hub.counters()
        const copies = blobBytes / image.blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0)
        t.diagnostic(`${copies.toFixed(2)} copies left the registry`)
        assert.ok(copies <= cluster.workers.length, 'each node takes it once at most')
        await cluster.kubectl.run(['delete', 'daemonset', name, '--wait=false'])
        await cluster.registries.hub.remove(name)
        await cluster.naboReady()
      })
})
