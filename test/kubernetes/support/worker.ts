import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import type { Child } from '../../support/child.ts'
import type { ContainerdVersion } from '../../support/containerd.ts'
import type { ControlGroups } from '../../support/cri/control-groups.ts'
import { fileTree } from '../../support/file-tree.ts'
import { KubernetesNode } from '../../support/cri/kubernetes-node.ts'
import type { NetHost } from '../../support/netns/network.ts'
import { runSync } from '../../support/netns/commands.ts'
import type { ControlPlane } from './control-plane.ts'
import type { Programs } from './programs.ts'

export const PAUSE_IMAGE = 'localhost/pause:1'
export const DNS_SERVICE = '10.96.0.10'
const PODS = '10.244.0.0/16'

export interface WorkerOptions {
  readonly name: string
  readonly host: NetHost
  readonly directory: string
  readonly zone: string
  readonly containerd: ContainerdVersion
  readonly controlPlane: ControlPlane
  readonly programs: Programs
  /** The directory of {@link makeNetworkTools}. */
  readonly networkTools: string
  readonly groups: ControlGroups
  readonly images: readonly string[]
  /** The DNS server of the data centre. */
  readonly dns: string
  readonly authorities: string
  /** More fields of the kubelet's configuration. */
  readonly kubelet?: object
}

/** What the kubelet wants of the kernel: it finds these values, and what it writes stays in its own files. */
const KERNEL = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
}

/** A node of the cluster: containerd, kubelet and kube-proxy on a machine of its own. */
export class Worker {
  readonly name: string
  readonly node: KubernetesNode
  readonly #options: WorkerOptions
  #kubelet: Child | undefined
  #proxy: Child | undefined
  #isOn = true

  private constructor(options: WorkerOptions, node: KubernetesNode) {
    this.name = options.name
    this.#options = options
    this.node = node
  }

  /** Returns when containerd answers; the kubelet then registers the node. Pods need {@link addNetwork} besides, unless they use the node's. */
  static async start(options: WorkerOptions): Promise<Worker> {
    const { name, host, directory, groups, programs, controlPlane } = options
    await groups.create(name)
    const node = await KubernetesNode.start({
      name,
      host,
      directory,
      dns: [options.dns],
      images: options.images,
      pauseImage: PAUSE_IMAGE,
      cgroup: `${groups.path}/${name}`,
      containerd: { version: options.containerd },
      config: (snapshotter) => configOf(options.containerd, { snapshotter, cni: join(programs.debian, '../lib/cni') }),
      programs: [options.networkTools, programs.kubernetes],
      authorities: options.authorities,
      kernel: KERNEL,
    })
    const worker = new Worker(options, node)
    await worker.#writeSettings(
      await controlPlane.authority.issue(name, `/CN=${name}`, [`DNS:${name}`, `IP:${host.ip}`]),
    )
    await controlPlane.addUser(`kubelet-${name}`, `/O=system:nodes/CN=system:node:${name}`)
    await worker.#startAll()
    return worker
  }

  get ip(): string {
    return this.node.host.ip
  }

  /** False between {@link powerOff} and {@link powerOn}. */
  get isOn(): boolean {
    return this.#isOn
  }

  /** Of its pods, as `10.244.11`. */
  get podNetwork(): string {
    return podNetworkOf(this.node.host)
  }

  get log(): string {
    return (
      (this.#kubelet?.lines ?? [])
        // It says the same about each resource.
        .filter((line) => !line.includes('reflector') && !line.startsWith('I'))
        .slice(-15)
        .join('\n')
    )
  }

  /** Throws an Error if the kubelet has ended by itself. */
  throwIfEnded(): void {
    if (this.#kubelet?.exit !== undefined) throw new Error(`the kubelet of ${this.name} has ended`)
  }

  /** Sets up a CNI, with a bridge and with host ports, as a network's DaemonSet would. */
  async addNetwork(): Promise<void> {
    const ranges = [[{ subnet: `${this.podNetwork}.0/24` }]]
    const ipam = { type: 'host-local', ranges, routes: [{ dst: '0.0.0.0/0' }] }
    const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, hairpinMode: true, ipMasq: true, ipam }
    const plugins = [bridge, { type: 'portmap', capabilities: { portMappings: true } }]
    const file = this.node.outside('/etc/cni/net.d/10-bridge.conflist')
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins }))
  }

  async restartContainerd(): Promise<void> {
    await this.node.stopContainerd()
    await this.node.startContainerd()
    await this.#options.groups.move(`${this.name}/system`, this.node.containerdPid)
  }

  async stopKubelet(): Promise<void> {
    await this.#kubelet?.stop(5000)
  }

  async startKubelet(): Promise<void> {
    const { controlPlane, zone } = this.#options
    this.#kubelet = this.node.spawn('kubelet', [
      '--config=/etc/kubernetes/kubelet.json',
      `--kubeconfig=${controlPlane.kubeconfigOf(`kubelet-${this.name}`)}`,
      `--hostname-override=${this.name}`,
      `--node-ip=${this.ip}`,
      `--node-labels=topology.kubernetes.io/zone=${zone}`,
    ])
    await this.#options.groups.move(`${this.name}/system`, this.#kubelet.pid)
  }

  /** Cuts the power. Nothing runs and `/run` is empty; {@link powerOn} starts the node again. */
  async powerOff(): Promise<void> {
    this.#isOn = false
    await this.#kubelet?.kill()
    await this.#proxy?.kill()
    await this.node.powerOff(() => this.#options.groups.remove(this.name))
    for (const table of ['ip', 'ip6']) this.#inNetwork('nft', 'delete', 'table', table, 'kube-proxy')
    this.#inNetwork('ip', 'link', 'delete', 'cni0')
  }

  async powerOn(): Promise<void> {
    await this.#options.groups.create(this.name)
    await this.node.powerOn()
    await this.#startAll()
    this.#isOn = true
  }

  /** Every file of containerd's configuration. */
  containerdFiles(): Promise<Readonly<Record<string, string>>> {
    return fileTree(this.node.outside('/etc/containerd'))
  }

  /** The pids of the node's containers whose command line has these words. */
  pidsOf(words: string): readonly number[] {
    return this.#options.groups.pidsOf(this.name, words)
  }

  async #startAll(): Promise<void> {
    const { groups, controlPlane } = this.#options
    await groups.move(`${this.name}/system`, this.node.containerdPid)
    await this.startKubelet()
    this.#proxy = this.node.spawn('kube-proxy', [
      `--kubeconfig=${controlPlane.kubeconfigOf('proxy')}`,
      '--proxy-mode=nftables',
      `--hostname-override=${this.name}`,
      `--cluster-cidr=${PODS}`,
      // The machine's own settings stay.
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0',
      '--conntrack-tcp-timeout-close-wait=0',
    ])
    await groups.move(`${this.name}/system`, this.#proxy.pid)
  }

  /** What does not exist need not go. */
  #inNetwork(...command: readonly string[]): void {
    const [program = '', ...args] = command
    const path = program === 'nft' ? join(this.#options.networkTools, 'nft') : program
    try {
      runSync('ip', 'netns', 'exec', this.node.host.netns, path, ...args)
    } catch {}
  }

  async #writeSettings({ certificate, key }: { certificate: string; key: string }): Promise<void> {
    const { groups, controlPlane, kubelet = {} } = this.#options
    const config = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: controlPlane.authority.certificate },
      },
      authorization: { mode: 'Webhook' },
      tlsCertFile: certificate,
      tlsPrivateKeyFile: key,
      cgroupDriver: 'cgroupfs',
      cgroupRoot: `${groups.path}/${this.name}`,
      failCgroupV1: false,
      failSwapOn: false,
      clusterDNS: [DNS_SERVICE],
      clusterDomain: 'cluster.local',
      resolvConf: '/etc/resolv.conf',
      containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
      // The machine's disk is full or not whatever the test does.
      evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
      imageGCHighThresholdPercent: 100,
      serializeImagePulls: false,
      maxPods: 50,
      ...kubelet,
    }
    const file = this.node.outside('/etc/kubernetes/kubelet.json')
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, JSON.stringify(config))
  }
}

/** The network of the pods on a node, by the last part of its address. */
export function podNetworkOf(host: NetHost): string {
  return `10.244.${host.ip.split('.').at(-1)}`
}

function configOf(version: ContainerdVersion, { snapshotter, cni }: { snapshotter: string; cni: string }): string {
  const disabled = ['io.containerd.nri.v1.nri', 'io.containerd.internal.v1.opt', 'io.containerd.internal.v1.tracing']
  const head = `disabled_plugins = ${JSON.stringify(disabled)}`
  if (version.startsWith('1.'))
    return `version = 2
${head}
[plugins."io.containerd.grpc.v1.cri"]
disable_tcp_service = true
sandbox_image = "${PAUSE_IMAGE}"
# A machine of CI may not let its root lower it.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${cni}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "${snapshotter}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
`
  return `version = 3
${head}
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["${cni}"]
[plugins."io.containerd.cri.v1.images"]
snapshotter = "${snapshotter}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "${PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
`
}
