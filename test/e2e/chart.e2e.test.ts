import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { containersUnavailable, ControlGroups } from '../support/cri/control-groups.ts'
import { CriClient } from '../support/cri/cri-client.ts'
import type { CriExec } from '../support/cri/cri-runtime.ts'
import { Pod } from '../support/cri/kubelet.ts'
import { KubernetesNode } from '../support/cri/kubernetes-node.ts'
import { type DaemonSet, parseDaemonSet } from '../support/cri/pod-spec.ts'
import { findHelm, Helm, only } from '../support/helm.ts'
import {
  type BuiltImages,
  buildImages,
  buildUnavailable,
  NABO_IMAGE,
  PAUSE_IMAGE,
} from '../support/image/nabo-image.ts'
import { makeImage } from '../support/image-maker.ts'
import { execute } from '../support/netns/commands.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'

const found = await findHelm()
const helm = 'helm' in found ? found.helm : new Helm('')
const skip =
  (await clusterUnavailable()) ??
  (await buildUnavailable()) ??
  (await containersUnavailable()) ??
  ('skip' in found ? found.skip : false)

const NODES = 2
const SERVICE = 'nabo.nabo.svc.cluster.local'
const NAME = `${NABO_IMAGE.repository}:${NABO_IMAGE.tag}`
const APP = 'docker.io/library/app:1'
/** On the node, as an operator runs it. */
const NABO = join(import.meta.dirname, '../../bin/nabo')
const CERTS = '/etc/containerd/certs.d'
const OWN_HOSTS = `server = "https://registry-1.docker.io"

# Our own, since 2023.
[host."http://10.123.0.250:5000"]
  capabilities = ["pull"]
`
/** Makes the event loop of the daemon stand still when it is told to, as a bug would. */
const BLOCKER = `--import=data:text/javascript,${encodeURIComponent('process.on("SIGUSR2",()=>{for(;;);})')}`
const READ = (path: string) => `require("fs").readFileSync("${path}", "utf8")`

describe('the image that the Dockerfile makes, on real containerds', { skip }, () => {
  let images: BuiltImages
  let cluster: Cluster
  let nodes: KubernetesNode[] = []
  const groups = new ControlGroups()
  let dns: string
  const node = (number: number) => nodes[number] as KubernetesNode

  before(async () => {
    images = await buildImages()
    cluster = await createCluster({ nodes: NODES })
    dns = cluster.node(1).ip
    const shared = { dns: [dns], images: [images.pause, images.nabo], pauseImage: PAUSE_IMAGE }
    nodes = await Promise.all(
      cluster.nodes.map((each) =>
        KubernetesNode.start({ ...shared, ...pick(each), cgroup: `${groups.path}/${each.name}` }),
      ),
    )
  })
  after(async () => {
    await cluster?.dispose()
    await groups[Symbol.asyncDispose]()
    await images?.[Symbol.asyncDispose]()
  })

  it('runs alone with a read-only root, and its health check finds it alive', async () => {
    const id = 'alone'
    const ctr = async (...args: readonly string[]) => {
      const result = await node(0).ctr(...args)
      assert.equal(result.code, 0, result.stderr)
      return result.stdout
    }
    const logged = () => readFile(node(0).outside('/var/log/alone.log'), 'utf8')
    await ctr(
      'run',
      ...['--detach', '--read-only', '--net-host', '--seccomp', '--cgroup', `${node(0).cgroup}/${id}`],
      ...['--mount', 'type=tmpfs,src=tmpfs,dst=/var/lib/nabo,options=rw', '--log-uri', 'file:///var/log/alone.log'],
      ...['--env', 'NODE_DEBUG_NATIVE=COMPILE_CACHE', NAME, id],
    )
    let count = 0
    const exec = (...command: readonly string[]) =>
      node(0).ctr('tasks', 'exec', '--exec-id', `exec-${count++}`, id, ...command)
    const check = await healthCheckOf(images.nabo)
    await eventually('its health check says so', async () => {
      const { code, stderr } = await exec(...check)
      assert.equal(code, 0, `${stderr}\n${await logged()}`)
      return true
    })
    assert.notEqual((await exec('sh', '-c', 'true')).code, 0, 'there is no shell')
    const { stdout: licences } = await exec('node', '--print', READ('/usr/lib/nabo/THIRD-PARTY.txt'))
    assert.match(licences, /^@libp2p\/kad-dht \d.*: Apache-2\.0 OR MIT$/m)
    await ctr('tasks', 'kill', '--signal', 'SIGTERM', id)
    await eventually('it has ended', async () => (await ctr('tasks', 'list')).includes('STOPPED'))
    await ctr('tasks', 'delete', id)
    await ctr('containers', 'delete', id)
    const log = await logged()
    assert.match(log, /"stopped"/)
    assert.match(log, /V8 code cache for ESM file:\/\/\/usr\/lib\/nabo\/main\.js was accepted/)
    assert.doesNotMatch(log, /V8 code cache for .* was rejected/)
  })

  it('serves what one node pulled to the other as the pod of the chart, and leaves the nodes as they were', async () => {
    // Somebody has set up a mirror on one of them before.
    const own = `${CERTS}/docker.io/hosts.toml`
    await mkdir(node(1).outside(dirname(own)))
    await writeFile(node(1).outside(own), OWN_HOSTS, { mode: 0o640 })
    const filesBefore = await Promise.all(nodes.map((each) => treeOf(each.outside('/etc'))))
    const values = {
      image: NABO_IMAGE,
      clusterDNS: dns,
      upstreams: { 'docker.io': [cluster.hubUrl] },
      extraEnv: [{ name: 'NODE_OPTIONS', value: BLOCKER }],
    }
    const objects = await helm.render(values)
    // The second node has its admin socket in the pod alone.
    const daemonSets = [objects, await helm.render({ ...values, adminSocketDir: '' })].map((rendered) =>
      parseDaemonSet(only(rendered, 'DaemonSet')),
    )
    const main = new URL('../support/dns-main.ts', import.meta.url).pathname
    const server = cluster
      .node(1)
      .spawn(process.execPath, [main, dns, `${SERVICE}=${cluster.nodes.map(({ ip }) => ip).join(',')}`])
    await eventually('the DNS of the cluster runs', () => server.lines.includes('answering'))

    const labels = { 'topology.kubernetes.io/zone': 'north' }
    const pods = await Promise.all(
      nodes.map((each, i) =>
        Pod.start({ node: each, daemonSet: daemonSets[i] as DaemonSet, objects, clusterDns: dns, labels }),
      ),
    )
    const pod = (number: number) => pods[number] as Pod
    await togetherOn(nodes)

    for (const path of [node(0).outside(`${CERTS}/_default/hosts.toml`), node(1).outside(own)])
      assert.match(await readFile(path, 'utf8'), /"http:\/\/127\.0\.0\.1:7950"/)
    assert.match(await readFile(node(1).outside(own), 'utf8'), /7950[\s\S]*# Our own, since 2023/)

    // What its spec promises.
    const { stdout: status } = await pod(0).exec('nabo', 'node', '--print', READ('/proc/self/status'))
    const of = (field: string) => new RegExp(`^${field}:\\s+(.*)$`, 'm').exec(status)?.[1]
    assert.deepEqual(['CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs', 'Seccomp'].map(of), [
      ...Array.from({ length: 3 }, () => '0000000000000000'),
      '1',
      '2',
    ])
    for (const path of ['/var/lib/file', '/run/containerd/file', '/etc/nabo/cluster-secret/file']) {
      const { stderr } = await pod(0).exec('nabo', 'node', '--eval', `require("fs").writeFileSync("${path}", "")`)
      assert.match(stderr, /EROFS/)
    }
    for (const each of pods) assert.equal(zoneIn(await each.exec('nabo', 'nabo', 'status', '--json')), 'north')
    await assertAdminSocket(node(0))
    await assert.rejects(stat(node(1).outside('/run/nabo')), { code: 'ENOENT' })
    // What is run in the pod looks where its daemon does.
    const { stdout: found } = await pod(0).exec('nabo', 'nabo', 'doctor', '--json')
    const { findings } = JSON.parse(found) as { findings: readonly { id: string; level: string; says: string }[] }
    assert.equal(findings.find(({ id }) => id === 'containerd')?.level, 'ok', found)
    assert.doesNotMatch(findings.find(({ id }) => id === 'secret')?.says ?? assert.fail(found), /there is no/)

    // The first node's pull goes to the registry, the second one's to the first node.
    const image = makeImage({ layers: [{ size: 5_000_000, seed: 'chart' }] })
    await cluster.hub.publish('app', '1', image)
    await pull(node(0), pod(0))
    assert.ok((await sourcesOf(pod(0))).includes('upstream'))
    await eventually('it is announced', async () => (await metric(node(0), 'nabo_index_peers_in_sync')) === NODES - 1)
    const sent = (await cluster.hub.transfers()).length
    await pull(node(1), pod(1))
    assert.equal((await cluster.hub.transfers()).length, sent)
    const blobs = (await requestsOf(pod(1))).filter(({ kind, listener }) => kind === 'blob' && listener === 'mirror')
    assert.deepEqual([...new Set(blobs.map(({ source }) => source))], ['peer'])
    assert.ok(blobs.every(({ peer }) => peer === `${node(0).host.ip}:7951`))

    const { exitCode, stdout, stderr } = await pod(0).exec('nabo', 'nabo', 'warm', APP)
    assert.equal(exitCode, 0, `${stdout}${stderr}`)

    // A containerd that comes back has a new socket in the same directory.
    await node(1).stopContainerd()
    await node(1).startContainerd()
    await cluster.hub.publish('app', '2', makeImage({ layers: [{ size: 1_000_000, seed: 'again' }] }))
    const keys = await metric(node(1), 'nabo_index_own_keys')
    await pull(node(1), pod(1), 'docker.io/library/app:2')
    await eventually(
      'its content is announced again',
      async () => (await metric(node(1), 'nabo_index_own_keys')) > keys,
    )

    // The watchdog ends even the first process of a container, which then leaves its socket behind.
    const { stdout: tasks } = await node(0).ctr('tasks', 'list')
    const daemons = await pidsOfDaemons(tasks)
    for (const pid of daemons) process.kill(pid, 'SIGUSR2')
    assert.equal(await pod(0).restarted('nabo'), 137)
    await togetherOn(nodes)
    await assertAdminSocket(node(0))

    for (const each of pods) await each.stop()
    // The next pod finds the other nodes by it; a restart of the node removes it.
    assert.deepEqual(await readdir(node(0).outside('/run/nabo')), ['members.json'])
    assert.deepEqual(await Promise.all(nodes.map((each) => treeOf(each.outside('/etc')))), filesBefore)
    await server.stop()
  })

  function pick({ name, host, directory }: Cluster['nodes'][number]) {
    return { name, host, directory }
  }
})

/** Root on the node has the socket without a flag, and nobody has its commands on the port. */
async function assertAdminSocket(node: KubernetesNode): Promise<void> {
  const { mode, uid, gid } = await stat(node.outside('/run/nabo/admin.sock'))
  assert.deepEqual([mode, uid, gid], [0o140600, 0, 0])
  const { code, stdout, stderr } = await node.exec(NABO, 'status', '--json')
  assert.equal(zoneIn({ exitCode: code, stdout, stderr }), 'north')
  const { status, body } = await node.fetch('http://127.0.0.1:7953/api/v1/warm', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image: APP }),
  })
  const answer = Buffer.from(body).toString('utf8')
  assert.equal(status, 403, answer)
  // Not by the check of `Host`, which answers 403 too.
  assert.match(answer, /on the Unix socket of this node only/)
}

/** What `nabo status --json` says. */
function zoneIn({ exitCode, stdout, stderr }: CriExec): string {
  assert.equal(exitCode, 0, stderr)
  return (JSON.parse(stdout) as { zone: string }).zone
}

/** The command of an image in a file. OCI's own format would not keep it. */
async function healthCheckOf(file: string): Promise<readonly string[]> {
  const read = async (name: string) => {
    const { stdout } = await execute('tar', ['--extract', '--to-stdout', '--file', file, name])
    return JSON.parse(stdout) as unknown
  }
  const [manifest] = (await read('manifest.json')) as { Config: string }[]
  const { config } = (await read(manifest?.Config ?? '')) as { config: { Healthcheck: { Test: string[] } } }
  const [kind, ...command] = config.Healthcheck.Test
  assert.equal(kind, 'CMD', 'there is no shell to give it to')
  return command
}

async function togetherOn(nodes: readonly KubernetesNode[]): Promise<void> {
  await eventually('the nodes know each other', async () => {
    const heard = await Promise.all(nodes.map((each) => metric(each, 'nabo_index_members_heard')))
    return heard.every((count) => count === nodes.length - 1)
  })
}

async function metric(node: KubernetesNode, name: string): Promise<number> {
  const { body } = await node.fetch('http://127.0.0.1:7953/metrics')
  const line = new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, 'm').exec(Buffer.from(body).toString('utf8'))
  return Number(line?.[1] ?? Number.NaN)
}

/** As the kubelet does for a pod. */
async function pull(node: KubernetesNode, pod: Pod, image = APP): Promise<void> {
  using cri = new CriClient(node.socket)
  const answer = await cri.pull(image)
  assert.ok('imageRef' in answer, `${JSON.stringify(answer)}\n${(await pod.logs('nabo')).slice(-20).join('\n')}`)
}

interface Request {
  readonly msg?: string
  readonly kind?: string
  readonly listener?: string
  readonly source?: string
  readonly peer?: string
}

async function requestsOf(pod: Pod): Promise<readonly Request[]> {
  const lines = (await pod.logs('nabo')).filter((line) => line.startsWith('{'))
  return lines.map((line) => JSON.parse(line) as Request).filter(({ msg }) => msg === 'request')
}

async function sourcesOf(pod: Pod): Promise<readonly (string | undefined)[]> {
  return (await requestsOf(pod)).map(({ source }) => source)
}

/** Of the list of tasks those that run Nabo, not a sandbox. */
async function pidsOfDaemons(tasks: string): Promise<number[]> {
  const pids = [...tasks.matchAll(/^\S+\s+(\d+)\s+RUNNING/gm)].map((match) => Number(match[1]))
  const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8')))
  return pids.filter((_, i) => names[i]?.includes('nabo') === true)
}

/** Every file below a directory with its mode and content. */
async function treeOf(directory: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {}
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const { mode } = await stat(path)
    tree[path] = `${mode.toString(8)} ${entry.isFile() ? await readFile(path, 'utf8') : ''}`
  }
  return tree
}
