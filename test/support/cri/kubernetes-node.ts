import { cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { Child } from '../child.ts'
import { CriClient } from './cri-client.ts'
import { type ContainerdVariant, findContainerd } from '../containerd.ts'
import { type CommandResult, execute } from '../netns/commands.ts'
import { type AgentResponse, HttpAgent, type RequestOptions } from '../netns/http-agent.ts'
import type { NetHost } from '../netns/network.ts'
import { eventually } from '../poll.ts'

export interface KubernetesNodeOptions {
  readonly name: string
  readonly host: NetHost
  /** Its `/etc`, `/run` and `/var` are kept below it. Short: a socket's path has less than 108 bytes. */
  readonly directory: string
  /** Of its resolv.conf. */
  readonly dns: readonly string[]
  /** Files with images that are there before anything runs, the one named `pauseImage` among them. */
  readonly images: readonly string[]
  readonly pauseImage: string
  /** Of all its pods, as an absolute path. */
  readonly cgroup: string
  /** The version that is chosen if absent. */
  readonly containerd?: ContainerdVariant | undefined
  /** containerd's configuration; one for host networking alone if absent. `snapshotter` is one that works here. */
  readonly config?: (snapshotter: string) => string
  /** Directories of more programs for all that runs on the node. */
  readonly programs?: readonly string[]
  /** A PEM file: the certificate authorities that the node trusts. Those of this machine if absent. */
  readonly authorities?: string
  /** Files by their path below `/proc/sys`: their values are the node's own, and the machine's stay. */
  readonly kernel?: Readonly<Record<string, string>>
}

/** Takes the place of the machine's own in a mount namespace, where all else is the machine's. */
const OWN = ['etc', 'run', 'var']
/** What programs look for in any `/etc`. */
const ETC = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\n',
  group: 'root:x:0:\n',
  'os-release': 'ID=test\nPRETTY_NAME="a node of the tests"\n',
}
const ENTER = `set -e
root=$1
shift
for setting; do mount --bind "$root/kernel/$setting" "/proc/sys/$setting"; done
for own in ${OWN.join(' ')}; do mount --bind "$root/$own" "/$own"; done
mount --make-rshared /
echo entered
exec sleep infinity`

/**
 * A machine as the kubelet finds it: containerd at its usual paths, with the CRI and runc, in a network and a file system of its own.
 * Its processes end with the cluster that its host is of, whose disposal also comes before that of its {@link ControlGroups}.
 */
export class KubernetesNode {
  readonly name: string
  readonly host: NetHost
  readonly dns: readonly string[]
  readonly cgroup: string
  readonly #options: KubernetesNodeOptions
  /** Keeps the namespaces while containerd is away. */
  #anchor: Child | undefined
  #env: NodeJS.ProcessEnv = {}
  readonly #agent: HttpAgent
  #containerd: Child | undefined

  private constructor(options: KubernetesNodeOptions) {
    this.name = options.name
    this.host = options.host
    this.dns = options.dns
    this.cgroup = options.cgroup
    this.#options = options
    this.#agent = new HttpAgent(options.host.netns)
  }

  static async start(options: KubernetesNodeOptions): Promise<KubernetesNode> {
    const { directory, pauseImage, config = (snapshotter) => configOf(snapshotter, pauseImage) } = options
    const node = new KubernetesNode(options)
    const tools = await findContainerd(options.containerd)
    if ('skip' in tools) throw new Error(tools.skip)
    // Debian's suites differ: the newest one's runc may not run here, and the system's own does.
    const own = await findContainerd({})
    const programs = [...(options.programs ?? []), tools.binDir, ...('skip' in own ? [] : [own.binDir])]
    node.#env = { ...process.env, PATH: [...programs, process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(':') }
    for (const path of ['etc/containerd/certs.d', 'run/lock', 'var/lib', 'var/log', 'var/tmp'])
      await mkdir(join(directory, path), { recursive: true })
    await symlink('/run', join(directory, 'var/run'))
    await writeFile(join(directory, 'etc/resolv.conf'), options.dns.map((ip) => `nameserver ${ip}\n`).join(''))
    await writeFile(join(directory, 'etc/hosts'), '127.0.0.1 localhost\n')
    for (const [name, content] of Object.entries(ETC)) await writeFile(join(directory, 'etc', name), content)
    if (options.authorities !== undefined) {
      await mkdir(join(directory, 'etc/ssl/certs'), { recursive: true })
      await cp(options.authorities, join(directory, 'etc/ssl/certs/ca-certificates.crt'))
    }
    const snapshotter = (await overlayWorks(directory)) ? 'overlayfs' : 'native'
    await writeFile(join(directory, 'etc/containerd/config.toml'), config(snapshotter))
    await node.powerOn()
    for (const image of options.images) await node.importImage(image)
    return node
  }

  /** By which it can be reached from outside. */
  get socket(): string {
    return this.outside('/run/containerd/containerd.sock')
  }

  /** What containerd wrote. */
  get log(): readonly string[] {
    return this.#containerd?.lines ?? []
  }

  get containerdPid(): number | undefined {
    return this.#containerd?.pid
  }

  /** Also after {@link stopContainerd}, beside the containers that went on. Returns when it answers. */
  async startContainerd(): Promise<void> {
    const child = this.spawn('containerd', [])
    this.#containerd = child
    using cri = new CriClient(this.socket)
    const answers = async () =>
      child.exit !== undefined || ((await this.ctr('version')).code === 0 && (await cri.isServed()))
    await eventually(`containerd of ${this.name} answers`, answers, { everyMs: 200 })
    if (child.exit !== undefined) throw new Error(`containerd of ${this.name}:\n${this.log.slice(-20).join('\n')}`)
  }

  /** Containers go on without it. */
  async stopContainerd(): Promise<void> {
    await this.#containerd?.stop()
  }

  /** Where a path of the node is on this machine. It must be in `/etc`, `/run` or `/var`. */
  outside(path: string): string {
    if (!OWN.includes(path.split('/')[1] ?? '')) throw new Error(`${path} of a node is the machine's`)
    return join(this.#options.directory, path)
  }

  /** Runs a command on the node to its end. */
  exec(command: string, ...args: readonly string[]): Promise<CommandResult> {
    return execute('nsenter', [...this.#place(), command, ...args], { env: this.#env })
  }

  ctr(...args: readonly string[]): Promise<CommandResult> {
    return this.exec('ctr', '--namespace', 'k8s.io', ...args)
  }

  /** An HTTP request from the node, to its own loopback for one. */
  fetch(url: string, options?: RequestOptions): Promise<AgentResponse> {
    return this.#agent.fetch(url, options)
  }

  /** Starts a program on the node, which ends with this process. */
  spawn(command: string, args: readonly string[]): Child {
    return new Child('nsenter', [...this.#place(), command, ...args], { env: this.#env })
  }

  /**
   * Ends containerd at once, then what `endRest` ends (every container), and empties `/run`. What {@link spawn} started must have ended.
   */
  async powerOff(endRest: () => Promise<void>): Promise<void> {
    await this.#containerd?.kill()
    await endRest()
    // With its last process the mount namespace goes, and all that was mounted in it.
    await this.#anchor?.kill()
    await rm(this.outside('/run'), { recursive: true, force: true, maxRetries: 3 })
    await mkdir(this.outside('/run/lock'), { recursive: true })
  }

  /** Once at first, and after {@link powerOff}; returns when containerd answers. */
  async powerOn(): Promise<void> {
    const { directory, host, name, kernel = {} } = this.#options
    for (const [path, value] of Object.entries(kernel)) {
      const file = join(directory, 'kernel', path)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, `${value}\n`)
    }
    // Not by `ip netns exec`: its /sys would have no cgroups.
    const network = `--net=/run/netns/${host.netns}`
    const enter = ['unshare', '--mount', 'sh', '-c', ENTER, 'sh', directory, ...Object.keys(kernel)]
    const anchor = new Child('nsenter', [network, ...enter])
    this.#anchor = anchor
    await eventually(`${name} has its file system`, () => {
      if (anchor.exit !== undefined) throw new Error(anchor.lines.join('\n'))
      return anchor.lines.includes('entered')
    })
    await this.startContainerd()
  }
  /** Reads an image from a file into containerd. */
  async importImage(file: string): Promise<void> {
    const { code, stderr } = await this.ctr('images', 'import', file)
    if (code !== 0) throw new Error(`${this.name} cannot import ${file}: ${stderr}`)
  }

  #place(): string[] {
    return ['--target', `${this.#anchor?.pid ?? 0}`, '--mount', '--net']
  }
}

async function overlayWorks(directory: string): Promise<boolean> {
  const parts = ['lower', 'upper', 'work', 'merged'].map((name) => join(directory, 'overlay-probe', name))
  for (const part of parts) await mkdir(part, { recursive: true })
  const [lower = '', upper = '', work = '', merged = ''] = parts
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
  const command = ['--mount', 'mount', '-t', 'overlay', 'overlay', '-o', options, merged]
  return (await execute('unshare', command)).code === 0
}

/** Version 2 of the format is understood by 1.x and 2.x, which name the CRI's plugins differently and ignore the other's. */
function configOf(snapshotter: string, pauseImage: string): string {
  const image = JSON.stringify(pauseImage)
  return `version = 2
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
disable_tcp_service = true
# A machine of CI may not let its root lower it.
restrict_oom_score_adj = true
sandbox_image = ${image}
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "${snapshotter}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.images"]
snapshotter = "${snapshotter}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = ${image}
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
`
}
