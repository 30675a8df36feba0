import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { z } from 'zod'

import type { Kubectl } from '../../../bench/cluster/kubectl.ts'
import { chosenVariant } from '../../support/containerd.ts'
import { ControlGroups } from '../../support/cri/control-groups.ts'
import { CHART } from '../../support/helm.ts'
import { type Image, makeImage } from '../../support/image-maker.ts'
import { type CommandResult, execute, runSync } from '../../support/netns/commands.ts'
import { sweep, uniqueName } from '../../support/netns/namespaces.ts'
import { Network } from '../../support/netns/network.ts'
import { type Teardown, teardownOf } from '../../support/netns/teardown.ts'
import { eventually } from '../../support/poll.ts'
import { ControlPlane } from './control-plane.ts'
import { COREDNS_OBJECTS, DNS_SERVICE_OBJECT } from './coredns.ts'
import { type Programs, makeNetworkTools } from './programs.ts'
import { type Registries, startRegistries } from './registries.ts'
import { Worker, podNetworkOf } from './worker.ts'

export interface KubernetesClusterOptions {
  readonly programs: Programs
  /** Files with Nabo's image, which Docker Hub has as {@link NABO}, and with the pause container's, which is on every node from the start. */
  readonly images: { readonly nabo: string; readonly pause: string }
  /** 3 if absent. */
  readonly nodes?: number
  /** More fields of the kubelets' configuration. */
  readonly kubelet?: object
}

/** Nabo's image, and the tag of another one, for updates. */
export const NABO = { repository: 'docker.io/nabo/nabo', tag: 'test', next: '0.1.0' } as const

const HUB_NUMBER = 2
const CONTROL_NUMBER = 5
const FIRST_NODE_NUMBER = 11
const PATIENCE_MS = 120_000

const podsSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), uid: z.string(), deletionTimestamp: z.string().optional() }),
      spec: z.object({ nodeName: z.string().optional() }),
      status: z.object({
        podIP: z.string().optional(),
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
        containerStatuses: z
          .array(z.object({ restartCount: z.number(), ready: z.boolean(), image: z.string() }))
          .default([]),
      }),
    }),
  ),
})
export type RunningPod = z.infer<typeof podsSchema>['items'][number]

const eventsSchema = z.object({
  items: z.array(
    z.object({
      type: z.string(),
      reason: z.string(),
      message: z.string(),
      involvedObject: z.object({ kind: z.string(), name: z.string(), namespace: z.string().optional() }),
    }),
  ),
})
export type ClusterEvent = z.infer<typeof eventsSchema>['items'][number]

/** A Kubernetes of its own on this machine, with Docker Hub's stand-in. Nodes have no network for pods and no DNS at first. */
export class KubernetesCluster implements AsyncDisposable {
  readonly workers: readonly Worker[]
  readonly registries: Registries
  readonly kubectl: Kubectl
  readonly programs: Programs
  readonly directory: string
  readonly #control: ControlPlane
  readonly #end: Teardown['end']

  private constructor(parts: {
    workers: readonly Worker[]
    registries: Registries
    programs: Programs
    directory: string
    control: ControlPlane
    end: Teardown['end']
  }) {
    this.workers = parts.workers
    this.registries = parts.registries
    this.programs = parts.programs
    this.directory = parts.directory
    this.kubectl = parts.control.kubectl
    this.#control = parts.control
    this.#end = parts.end
  }

  /** Returns when every node is registered. */
  static async start(options: KubernetesClusterOptions): Promise<KubernetesCluster> {
    await sweep()
    const { programs } = options
    const name = uniqueName()
    // Short: below it are sockets, whose paths have less than 108 bytes.
    const directory = join('/tmp', name)
    const network = new Network(name)
    const groups = new ControlGroups()
    const { end, throwIfEnded } = teardownOf(network, directory, groups)
    try {
      mkdirSync(directory)
      network.start()
      const registries = await startRegistries(directory, network.addHost('hub', HUB_NUMBER))
      throwIfEnded()
      await publishNabo(registries, options.images.nabo)
      throwIfEnded()
      const controlHost = network.addHost('control', CONTROL_NUMBER)
      const hosts = Array.from({ length: options.nodes ?? 3 }, (_, i) =>
        network.addHost(`n${i}`, FIRST_NODE_NUMBER + i),
      )
      // The pods of a node are reached by that node; beyond the last one there is nothing, but programs expect a way out.
      for (const host of [controlHost, ...hosts]) {
        runSync('ip', 'netns', 'exec', host.netns, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward')
        for (const other of hosts.filter((each) => each !== host))
          runSync('ip', '-n', host.netns, 'route', 'add', `${podNetworkOf(other)}.0/24`, 'via', other.ip)
        runSync('ip', '-n', host.netns, 'route', 'add', 'default', 'via', '10.123.0.1')
      }
      const control = await ControlPlane.start({
        host: controlHost,
        directory: join(directory, 'control'),
        programs: { kubernetes: programs.kubernetes, etcd: programs.debian },
      })
      throwIfEnded()
      const networkTools = await makeNetworkTools(join(directory, 'tools'), programs)
      const { version = '2.1' } = chosenVariant()
      const shared = { containerd: version, controlPlane: control, programs, networkTools, groups }
      const known = { dns: registries.dns, authorities: registries.authority, kubelet: options.kubelet ?? {} }
      const workers = await Promise.all(
        hosts.map((host, i) =>
          Worker.start({
            ...shared,
            ...known,
            name: `node-${i}`,
            host,
            directory: join(directory, `n${i}`),
            zone: i === 2 ? 'south' : 'north',
            images: [options.images.pause],
          }),
        ),
      )
      throwIfEnded()
      const cluster = new KubernetesCluster({ workers, registries, programs, directory, control, end })
      await cluster.#registered()
      return cluster
    } catch (error) {
      await end()
      throw error
    }
  }

  /** The node with this number, from 0. */
  worker(number: number): Worker {
    const worker = this.workers[number]
    if (worker === undefined) throw new Error(`the cluster has no node ${number}`)
    return worker
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end()
  }

  /** Sets up the network of the pods on every node and waits until the nodes are ready. */
  async addNetwork(): Promise<void> {
    for (const worker of this.workers) await worker.addNetwork()
    await this.kubectl.run(['wait', '--for=condition=Ready', 'nodes', '--all', '--timeout=60s'], {
      timeoutMs: PATIENCE_MS,
    })
  }

  /** Gives the cluster's DNS its address, where nobody answers until {@link addDns}. */
  async addDnsService(): Promise<void> {
    await this.apply(DNS_SERVICE_OBJECT)
  }

  /** Starts CoreDNS, whose image is pulled from Docker Hub as any other, and waits until it answers. */
  async addDns(): Promise<void> {
    const file = join(this.programs.kubernetes, 'coredns')
    const image = makeImage({ programs: [{ file, path: 'coredns' }], entrypoint: ['/coredns'], layers: [] })
    await this.registries.hub.publish('coredns/coredns', '1', image)
    await this.apply(...COREDNS_OBJECTS)
    await this.kubectl.run(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=90s'], {
      timeoutMs: PATIENCE_MS,
    })
  }

  /** Sets up the network of the pods, the DNS and Nabo with these values; returns when every daemon knows every other one. */
  async bringUp(values: object = {}): Promise<void> {
    await this.addDnsService()
    await this.addNetwork()
    await this.addDns()
    await this.installNabo(values)
    await this.together()
  }

  /** Every file of containerd's configuration on each node. */
  containerdFiles(): Promise<readonly Readonly<Record<string, string>>[]> {
    return Promise.all(this.workers.map((worker) => worker.containerdFiles()))
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects }
    await this.kubectl.run(['apply', '-f', '-'], { input: JSON.stringify(list) })
  }

  /** Runs Helm as the cluster's administrator. */
  helm(args: readonly string[], options: { timeoutMs?: number } = {}): Promise<CommandResult> {
    const [program = '', ...flags] = this.#control.asAdministrator(this.programs.helm)
    const home = { HOME: join(this.directory, 'control') }
    return execute(program, [...flags, ...args], {
      env: { ...process.env, ...home },
      timeoutMs: PATIENCE_MS,
      ...options,
    })
  }

  /** Makes a namespace, and a user who may do everything in it and nothing else; returns the path of the user's kubeconfig. */
  async addLimitedUser(name: string): Promise<string> {
    const binding = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name, namespace: name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }],
    }
    await this.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, binding)
    return this.#control.addUser(name, `/CN=${name}`)
  }

  /** Runs a shell script of an administrator, who has kubectl and helm on the PATH, in the root of this repository. */
  shell(script: string): Promise<CommandResult> {
    const path = [this.programs.kubernetes, join(this.programs.helm, '..'), process.env['PATH']].join(':')
    const environment = {
      PATH: path,
      KUBECONFIG: this.#control.kubeconfigOf('admin'),
      HOME: join(this.directory, 'control'),
    }
    const [program, ...args] = [...this.#control.place, 'sh', '-c', `cd ${join(CHART, '../..')}\n${script}`]
    return execute(program, args, { env: { ...process.env, ...environment }, timeoutMs: 3 * PATIENCE_MS })
  }

  /** `helm install`, or `upgrade` if the chart is there; returns when every pod is ready. Throws an Error with Helm's words. */
  async installNabo(values: object = {}): Promise<void> {
    const { code, stderr } = await this.startNabo(values)
    if (code !== 0) throw new Error(`helm: ${stderr}`)
    await this.naboReady()
  }

  /** The same without waiting. */
  async startNabo(values: object = {}): Promise<CommandResult> {
    const file = join(this.directory, 'values.json')
    const { repository, tag } = NABO
    await writeFile(file, JSON.stringify({ image: { repository, tag }, ...values }))
    return this.helm([
      'upgrade',
      '--install',
      'nabo',
      CHART,
      '--namespace',
      'nabo',
      '--create-namespace',
      '--values',
      file,
    ])
  }

  async naboReady(): Promise<void> {
    await this.kubectl.run(['-n', 'nabo', 'rollout', 'status', 'daemonset/nabo', '--timeout=100s'], {
      timeoutMs: PATIENCE_MS,
    })
  }

  async uninstallNabo(...flags: readonly string[]): Promise<void> {
    const { code, stderr } = await this.helm(['uninstall', 'nabo', '--namespace', 'nabo', ...flags])
    if (code !== 0) throw new Error(`helm: ${stderr}`)
  }

  /** Returns when no pod of Nabo is left on a node that runs. */
  async naboGone(): Promise<void> {
    const on = this.workers.filter(({ isOn }) => isOn).map(({ name }) => name)
    const left = async () => (await this.naboPods()).filter(({ spec }) => on.includes(spec.nodeName ?? ''))
    await eventually('no pod of Nabo is left', async () => (await left()).length === 0, {
      timeoutMs: PATIENCE_MS,
      everyMs: 300,
    })
  }

  naboPods(): Promise<readonly RunningPod[]> {
    return this.pods('-n', 'nabo', '-l', 'app.kubernetes.io/name=nabo')
  }

  async naboOn(worker: Worker): Promise<RunningPod> {
    const pods = await this.naboPods()
    const pod = pods.find(
      ({ spec, metadata }) => spec.nodeName === worker.name && metadata.deletionTimestamp === undefined,
    )
    if (pod === undefined) throw new Error(`there is no Nabo on ${worker.name}`)
    return pod
  }

  /** Runs a command of Nabo in the pod of a node; returns its standard output, whatever its exit code. Throws an Error if it wrote none. */
  async nabo(worker: Worker, ...args: readonly string[]): Promise<string> {
    const { metadata } = await this.naboOn(worker)
    const exec = ['-n', 'nabo', 'exec', metadata.name, '-c', 'nabo', '--', 'nabo', ...args]
    const [program = '', ...flags] = this.#control.asAdministrator(join(this.programs.kubernetes, 'kubectl'))
    const { code, stdout, stderr } = await execute(program, [...flags, ...exec], { timeoutMs: PATIENCE_MS })
    if (code !== 0 && stdout === '') throw new Error(`nabo ${args.join(' ')} on ${worker.name}: ${stderr}`)
    return stdout
  }

  /** Returns when every running daemon knows every other one. */
  async together(): Promise<void> {
    const workers = this.workers.filter(({ isOn }) => isOn)
    await eventually(
      'the daemons know each other',
      async () => {
        const answers = await Promise.all(workers.map((worker) => this.nabo(worker, 'status', '--json')))
        const counts = answers.map((answer) => (JSON.parse(answer) as { peers: number }).peers)
        return counts.every((count) => count === workers.length - 1)
      },
      { timeoutMs: 60_000, everyMs: 500 },
    )
  }

  /** How often Docker Hub gave each blob of an image. */
  async copiesOf(image: Image): Promise<readonly number[]> {
    const { blobs } = await this.registries.hub.counters()
    return image.blobs.map(({ descriptor }) => blobs[descriptor.digest]?.gets ?? 0)
  }

  async pods(...args: readonly string[]): Promise<readonly RunningPod[]> {
    return (await this.kubectl.json(['get', 'pods', ...args], podsSchema)).items
  }

  async events(...args: readonly string[]): Promise<readonly ClusterEvent[]> {
    return (await this.kubectl.json(['get', 'events', ...args], eventsSchema)).items
  }

  /** What can be said about a failure: the ends of the logs and all events. */
  async report(): Promise<string> {
    const texts = await Promise.all([
      this.kubectl.run(['get', 'pods', '-A', '-o', 'wide']).catch(String),
      this.kubectl.run(['get', 'events', '-A']).catch(String),
      this.kubectl
        .run(['-n', 'nabo', 'logs', '-l', 'app.kubernetes.io/name=nabo', '--tail=40', '--prefix'])
        .catch(String),
    ])
    return [...texts, this.#control.logs(), ...this.workers.map(({ name, log }) => `== ${name}\n${log}`)].join('\n')
  }

  async #registered(): Promise<void> {
    try {
      await eventually(
        'all nodes are registered',
        async () => {
          for (const worker of this.workers) worker.throwIfEnded()
          const names = await this.kubectl.run(['get', 'nodes', '-o', 'name'])
          return names.trim().split('\n').length === this.workers.length
        },
        { timeoutMs: 60_000 },
      )
    } catch (cause) {
      throw new Error(await this.report(), { cause })
    }
  }
}

/** Two images of it, for updates. As an image trusts the usual authorities, these trust those of the registries here. */
async function publishNabo({ hub, authority }: Registries, archive: string): Promise<void> {
  const path = 'registries-ca.crt'
  for (const tag of [NABO.tag, NABO.next]) {
    const environment = [`NODE_EXTRA_CA_CERTS=/${path}`, `IMAGE_TAG=${tag}`]
    const image = makeImage({ archive, programs: [{ file: authority, path }], environment, layers: [] })
    await hub.publish('nabo/nabo', tag, image)
  }
}
