// The chart on a real Kubernetes: from its installation on an empty cluster to its removal, with pods that pull images in between.
import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { chosenVariant } from '../support/containerd.ts'
import type { Image } from '../support/image-maker.ts'
import { eventually } from '../support/poll.ts'
import { kubernetesUnavailable, startCluster } from './support/lab.ts'
import type { KubernetesCluster } from './support/kubernetes-cluster.ts'
import { ANN, BOB, CAROL, COMPANY, sleeper } from './support/registries.ts'
import { everywhere, pod, pullFailure, pullSecret, rolledOut, running, warnings } from './support/workloads.ts'

const skip = (await kubernetesUnavailable()) ?? false
const HUB_SECRET = 'https://index.docker.io/v1/'
const NODES = 3
/** Nodes share the registry's answer about a tag for 15 s. */
const TAG_TTL_MS = 15_000
/** A frozen daemon held pulls for 100 s before its probes were short; now it takes about 20 s. */
const FROZEN_PATIENCE_MS = 60_000
const OTHER_MIRROR = '[host."https://mirror.example"]\ncapabilities = ["pull", "resolve"]\n'
/** Files of this node alone are looked at every 30 s. */
const LOST_PATIENCE_MS = 60_000

interface Finding {
  readonly id: string
  readonly level: string
}

describe('Nabo on Kubernetes', { skip }, () => {
  let cluster: KubernetesCluster
  let filesBefore: readonly unknown[]
  const busybox = () => cluster.programs.busybox

  before(async () => {
    cluster = await startCluster({ kubelet: { imagePullCredentialsVerificationPolicy: 'AlwaysVerify' } })
    filesBefore = await cluster.containerdFiles()
    // One node lacks the directory of hosts.toml files: its kubelet makes it, and leaves it, empty.
    await rm(cluster.worker(NODES - 1).node.outside('/etc/containerd/certs.d'), { recursive: true })
  })
  after(() => cluster?.[Symbol.asyncDispose]())

  const copies = (image: Image) => cluster.copiesOf(image)
  const together = () => cluster.together()

  it('is ready before there is a network for pods, while the DNS of the cluster does not answer', async () => {
    await cluster.addDnsService()
    await cluster.installNabo()
    assert.equal((await cluster.naboPods()).length, NODES)
    // In the pod, the checks see what containerd reads.
    for (const worker of cluster.workers) {
      const { findings } = JSON.parse(await cluster.nabo(worker, 'doctor', '--json')) as {
        findings: readonly Finding[]
      }
      for (const id of ['config-path', 'hosts-toml', 'unpacked-layers', 'ports'])
        assert.equal(findings.find((finding) => finding.id === id)?.level, 'ok', JSON.stringify(findings))
    }
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
  })

  it('brings the image of the DNS, and its daemons find each other once that runs', async () => {
    await cluster.addNetwork()
    await cluster.addDns()
    await together()
  })

  it('takes each blob of an image from the registry once, for all nodes, its manifest and its tag too', async () => {
    await cluster.registries.hub.reset()
    const image = sleeper(busybox(), { seed: 'rollout', layers: [20_000_000, 10_000_000, 1_000_000] })
    await cluster.registries.hub.publish('app', '1', image)
    await cluster.apply(everywhere('rollout', { image: 'docker.io/library/app:1' }))
    await rolledOut(cluster, 'rollout')
    assert.deepEqual(
      await copies(image),
      image.blobs.map(() => 1),
    )
    const { manifestHeads, manifestGets } = await cluster.registries.hub.counters()
    assert.deepEqual({ manifestHeads, manifestGets }, { manifestHeads: 1, manifestGets: 1 })
    assert.deepEqual(await warnings(cluster, 'default', 'rollout'), [])
  })

  it('asks about the tag alone where pods always pull, once for all nodes', async () => {
    await sleep(TAG_TTL_MS)
    await cluster.registries.hub.reset()
    await cluster.apply(everywhere('always', { image: 'docker.io/library/app:1', pullPolicy: 'Always' }))
    await rolledOut(cluster, 'always')
    const { blobGets, manifestHeads, manifestGets } = await cluster.registries.hub.counters()
    assert.deepEqual({ blobGets, manifestHeads, manifestGets }, { blobGets: 0, manifestHeads: 1, manifestGets: 0 })
  })

  it('says within a minute that a hosts.toml was overwritten: in /readyz, a metric and the log', async (t) => {
    const worker = cluster.worker(1)
    const paths = Object.keys(await worker.containerdFiles()).filter((path) => path.endsWith('/hosts.toml'))
    assert.ok(paths.length > 0)
    const files = await Promise.all(
      paths.map(async (path) => {
        const file = worker.node.outside(`/etc/containerd/${path}`)
        return { file, text: await readFile(file, 'utf8') }
      }),
    )
    const lost = /no hosts\.toml in \/etc\/containerd\/certs\.d sends containerd to Nabo/
    // Neither `nabo doctor` nor /api/v1/checks is asked: either makes the checks at once.
    const answer = async (path: string) => {
      const { body } = await worker.node.fetch(`http://127.0.0.1:7953${path}`)
      return Buffer.from(body).toString('utf8')
    }
    const warningsOf = async () => (JSON.parse(await answer('/readyz')) as { warnings: readonly string[] }).warnings
    const hasLost = async () => (await warningsOf()).some((warning) => lost.test(warning))
    const errors = async () => /^nabo_check_findings\{level="error"\} (\d+)$/m.exec(await answer('/metrics'))?.[1]
    assert.deepEqual([await hasLost(), await errors()], [false, '0'])
    const patience = { timeoutMs: LOST_PATIENCE_MS, everyMs: 500 }
    const began = performance.now()
    for (const { file } of files) await writeFile(file, OTHER_MIRROR)
    try {
      await eventually('/readyz says so', hasLost, patience)
      t.diagnostic(`/readyz said so after ${((performance.now() - began) / 1000).toFixed(1)} s`)
      assert.equal(await errors(), '1')
      const { metadata } = await cluster.naboOn(worker)
      const log = await cluster.kubectl.run(['-n', 'nabo', 'logs', metadata.name, '-c', 'nabo'])
      const lines = log.split('\n').filter((line) => line.includes('"check":"hosts-toml"'))
      assert.equal(lines.length, 1, log)
      assert.match(lines[0] ?? '', lost)
    } finally {
      for (const { file, text } of files) await writeFile(file, text)
    }
    await eventually('/readyz says no more', async () => !(await hasLost()), patience)
    assert.equal(await errors(), '0')
  })

  it('gives a private image to pods with the right secret', async () => {
    const image = sleeper(busybox(), { seed: 'hidden' })
    await cluster.registries.hub.publish('org/hidden', '1', image)
    await cluster.apply(pullSecret('ann', HUB_SECRET, ANN), pullSecret('bob', HUB_SECRET, BOB))
    await cluster.apply(everywhere('right', { image: 'docker.io/org/hidden:1', secrets: ['ann'] }))
    await rolledOut(cluster, 'right')
  })

  /** Of the event of a pod whose credentials, or lack of them, the registry refuses: `error="insufficient_scope"` in its WWW-Authenticate. */
  const reasonOf = (secret: string): RegExp => {
    if (secret === 'wrong') return /: server message: insufficient_scope: authorization failed$/
    return isStatusLine(secret)
      ? /: registry-1\.docker\.io denies access: 401 insufficient_scope$/
      : // From 1.7 on containerd itself says what it lacks.
        /: authorization failed: no basic auth credentials$/
  }
  const isStatusLine = (secret: string) => secret !== 'wrong' && chosenVariant().version === '1.6'
  for (const [name, secrets] of [
    ['none', []],
    ['wrong', ['bob']],
    ['foreign', ['carol']],
  ] as const)
    it(`refuses it to a pod with the secret '${name}' on a node that has it, with the registry's words`, async (t) => {
      await cluster.apply(pullSecret('carol', COMPANY, CAROL))
      await cluster.apply(pod(name, { image: 'docker.io/org/hidden:1', secrets, node: cluster.worker(0).name }))
      const failure = await pullFailure(cluster, name)
      t.diagnostic(failure)
      assert.match(failure, /pull access denied, repository does not exist or may require authorization: /)
      assert.match(failure, reasonOf(name))
      assert.doesNotMatch(failure, /nabo/i)
      // containerd 1.6 names the host whose status line it shows.
      if (!isStatusLine(name)) assert.doesNotMatch(failure, /127\.0\.0\.1|7950/)
      await cluster.kubectl.run(['delete', 'pod', name])
    })

  it('lets images of a registry that wants a password pass', async () => {
    const image = sleeper(busybox(), { seed: 'company' })
    await cluster.registries.company.publish('team/app', '1', image)
    await cluster.apply(everywhere('company', { image: `${COMPANY}/team/app:1`, secrets: ['carol'] }))
    await rolledOut(cluster, 'company')
  })

  const noVolumes = chosenVariant().version === '1.6' ? 'containerd 1.6 cannot mount images' : false
  it('brings the image of a volume once', { skip: noVolumes }, async () => {
    const image = sleeper(busybox(), { seed: 'volume', layers: [5_000_000] })
    await cluster.registries.hub.publish('files', '1', image)
    const volume = { image: 'docker.io/library/app:1', imageVolume: 'docker.io/library/files:1' }
    await cluster.apply(everywhere('volume', volume))
    await rolledOut(cluster, 'volume')
    assert.equal((await copies(image)).at(-1), 1)
  })

  it('fails no pod while all daemons are replaced', async () => {
    await cluster.kubectl.run(['-n', 'nabo', 'rollout', 'restart', 'daemonset/nabo'])
    for (const i of [0, 1, 2]) {
      const image = sleeper(busybox(), { seed: `restart ${i}`, layers: [10_000_000, 10_000_000] })
      await cluster.registries.hub.publish('restarted', `${i}`, image)
      await cluster.apply(everywhere(`restart-${i}`, { image: `docker.io/library/restarted:${i}` }))
      await rolledOut(cluster, `restart-${i}`)
      assert.deepEqual(await warnings(cluster, 'default', `restart-${i}`), [])
    }
    await cluster.naboReady()
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
    await together()
  })

  it('ends a daemon that is frozen, and the pull that waits for it goes on', async (t) => {
    const worker = cluster.worker(1)
    const [pid] = worker.pidsOf('nabo serve')
    assert.ok(pid !== undefined)
    await cluster.registries.hub.publish('frozen', '1', sleeper(busybox(), { seed: 'frozen' }))
    process.kill(pid, 'SIGSTOP')
    const began = performance.now()
    await cluster.apply(pod('frozen', { image: 'docker.io/library/frozen:1', node: worker.name }))
    await running(cluster, 'frozen', FROZEN_PATIENCE_MS)
    t.diagnostic(`the pod ran ${((performance.now() - began) / 1000).toFixed(1)} s after its node's daemon was frozen`)
    const restarts = await eventually('the daemon is started again', async () => {
      const [container] = (await cluster.naboOn(worker)).status.containerStatuses
      return container !== undefined && container.restartCount > 0 && container.ready
        ? container.restartCount
        : undefined
    })
    assert.equal(restarts, 1)
    await together()
  })

  it('leaves the nodes as they were', async () => {
    await cluster.kubectl.run(['-n', 'nabo', 'delete', 'events', '--all'])
    await cluster.uninstallNabo()
    await cluster.naboGone()
    assert.deepEqual(await cluster.containerdFiles(), filesBefore)
    assert.deepEqual(await warnings(cluster, 'nabo', 'nabo'), [])
    await cluster.registries.hub.publish('without', '1', sleeper(busybox(), { seed: 'without' }))
    await cluster.apply(everywhere('without', { image: 'docker.io/library/without:1' }))
    await rolledOut(cluster, 'without')
  })
})
