import { randomUUID } from 'node:crypto'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { Child, type ChildOptions } from './child.ts'
import { type Containerd, type FoundContainerd, startContainerd } from './containerd.ts'
import { CriClient, type CriPull, type PullAuth } from './cri/cri-client.ts'
import { type NaboOptions, NaboProcess } from './nabo-process.ts'
import { type CommandResult, execute } from './netns/commands.ts'
import { type AgentResponse, HttpAgent, type RequestOptions } from './netns/http-agent.ts'
import type { NetHost } from './netns/network.ts'

export interface ClusterNodeOptions {
  readonly name: string
  readonly host: NetHost
  readonly directory: string
  readonly containerd: FoundContainerd
  readonly hubUrl: string
  readonly secretFile: string
  /** The address that everybody begins with. */
  readonly bootstrap: string
}

export interface PullOptions {
  /** What containerd does when Nabo has no answer: ask the hub (as in real life), or nobody, so that a pull by Nabo alone shows. */
  readonly fallback?: 'hub' | 'nobody'
  /** The reference names the mirror itself: nothing else is told to containerd. */
  readonly explicit?: boolean
  /** Asks the hub and leaves Nabo out. */
  readonly withoutNabo?: boolean
  /** Asks another mirror in Nabo's place, at this URL. */
  readonly mirrorUrl?: string
  /** `name:password` for the registry. */
  readonly user?: string
  /** false: the content alone, no snapshots. */
  readonly unpack?: boolean
  /** 2 minutes if absent. */
  readonly timeoutMs?: number
}

export interface PullResult extends CommandResult {
  readonly durationMs: number
}

const MIRROR_URL = 'http://127.0.0.1:7950'
/** Nothing listens on the discard port. */
const NOBODY_URL = 'http://127.0.0.1:9'
const NAMESPACE = 'k8s.io'
const PULL_TIMEOUT_MS = 120_000

/** One node of a cluster. Processes that are started here end with the cluster. */
export class ClusterNode {
  readonly name: string
  readonly ip: string
  readonly ip6: string
  readonly host: NetHost
  readonly directory: string
  readonly #options: ClusterNodeOptions
  readonly #agent: HttpAgent
  #containerd: Containerd | undefined
  #snapshotter: string | undefined

  constructor(options: ClusterNodeOptions) {
    this.name = options.name
    this.ip = options.host.ip
    this.ip6 = options.host.ip6
    this.host = options.host
    this.directory = options.directory
    this.#options = options
    this.#agent = new HttpAgent(options.host.netns)
    mkdirSync(options.directory, { recursive: true })
  }

  /** The socket of the node's daemon, which the commands on the node ask. The nodes share the file system of this machine. */
  get adminSocket(): string {
    return join(this.directory, 'admin.sock')
  }

  /** Runs a command on the node to its end. */
  exec(command: string, args: readonly string[], options: { timeoutMs?: number } = {}): Promise<CommandResult> {
    const environment = `NABO_ADMIN_SOCKET=${this.adminSocket}`
    return execute('ip', ['netns', 'exec', this.host.netns, 'env', environment, command, ...args], options)
  }

  /** Starts a process on the node. */
  spawn(command: string, args: readonly string[], options: Pick<ChildOptions, 'env' | 'cwd'> = {}): Child {
    return new Child(command, args, { ...options, env: this.#withSocket(options.env), netns: this.host.netns })
  }

  /** An HTTP request from the node, to its own loopback for one. */
  fetch(url: string, options?: RequestOptions): Promise<AgentResponse> {
    return this.#agent.fetch(url, options)
  }

  /** The one that was started last. */
  get containerd(): Containerd {
    if (this.#containerd === undefined) throw new Error(`${this.name} has no containerd yet`)
    return this.#containerd
  }

  /** Also starts it again after it was killed, on the same content. With `cri` it serves {@link ClusterNode.criPull} too. */
  async startContainerd({ cri = false }: { cri?: boolean } = {}): Promise<Containerd> {
    const root = join(this.directory, 'c')
    const certs = cri ? { criCerts: join(this.directory, 'certs-cri.d') } : {}
    // From 2.1 on containerd unpacks with what it is configured for, and that is this one with the CRI.
    if (cri) this.#snapshotter = 'native'
    this.#containerd = await startContainerd({ ...this.#options.containerd, root, netns: this.host.netns, ...certs })
    return this.#containerd
  }

  /**
   * Starts a Nabo in front of this node's containerd and the cluster's hub. `flags` win over what it gets by default; of that
   * the flags in `without` are left out. `how` it is run: this checkout's sources, unless it says something else.
   */
  startNabo(
    flags: readonly string[] = [],
    without: readonly string[] = [],
    how: Pick<NaboOptions, 'program' | 'env'> = {},
  ): NaboProcess {
    const defaults: Record<string, string> = {
      '--store': 'containerd',
      '--containerd-socket': join(this.directory, 'c', 'c.sock'),
      '--upstream': `docker.io=${this.#options.hubUrl}`,
      '--bootstrap': `static:${this.#options.bootstrap}:7952`,
      '--cluster-secret-file': this.#options.secretFile,
      '--advertise-addr': this.ip,
      '--cache-dir': join(this.directory, 'cache'),
    }
    const kept = Object.entries(defaults).filter(([flag]) => ![...flags, ...without].includes(flag))
    return new NaboProcess({
      ...how,
      env: this.#withSocket(how.env),
      flags: [...kept.flat(), ...flags],
      netns: this.host.netns,
      cwd: this.directory,
      fetch: (url, options) => this.fetch(url, options),
    })
  }

  #withSocket(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
    return { NABO_ADMIN_SOCKET: this.adminSocket, ...env }
  }

  /** Pulls an image by containerd, as the kubelet would: `docker.io/library/app:1` or `…@sha256:…`. */
  async pull(image: string, options: PullOptions = {}): Promise<PullResult> {
    const args = await this.#pullArguments(image, options)
    const start = performance.now()
    const result = await this.exec(this.#ctr, args, { timeoutMs: options.timeoutMs ?? PULL_TIMEOUT_MS })
    return { ...result, durationMs: performance.now() - start }
  }

  /** Pulls an image as the kubelet does, with what an imagePullSecret holds. */
  async criPull(
    image: string,
    auth?: PullAuth,
    options: Pick<PullOptions, 'fallback' | 'withoutNabo'> = {},
  ): Promise<CriPull> {
    this.#writeHosts(options, 'certs-cri.d')
    using cri = new CriClient(this.containerd.socket)
    return await cri.pull(image, auth)
  }

  /** Sets the node up as `nabo configure` would, for pulls over the CRI that nobody here begins. Returns the directory of hosts.toml. */
  setUpHosts(options: Pick<PullOptions, 'fallback' | 'withoutNabo'> = {}): string {
    return this.#writeHosts(options, 'certs-cri.d')
  }

  /** Begins a pull that can be killed in the middle, as when a pod is deleted. */
  async beginPull(image: string, options: PullOptions = {}): Promise<Child> {
    return this.spawn(this.#ctr, await this.#pullArguments(image, options))
  }

  /** Forgets an image and waits until its content is gone. */
  async remove(image: string): Promise<CommandResult> {
    return this.containerd.ctr('--namespace', NAMESPACE, 'images', 'remove', '--sync', image)
  }

  /**
   * Adds the record `name@digest` for an image that `pull` got by its tag, as the CRI does for a kubelet and `ctr` does not. Some mirrors look at
   * nothing else. Throws if it cannot.
   */
  async recordDigest(image: string, digest: string): Promise<void> {
    const record = `${image.slice(0, image.lastIndexOf(':'))}@${digest}`
    // Not by force: that would remove one that is there first, and mirrors would see that.
    const { code, stderr } = await this.containerd.ctr('--namespace', NAMESPACE, 'images', 'tag', image, record)
    if (code !== 0 && !stderr.includes('already exists')) throw new Error(`${this.name} has no ${record}: ${stderr}`)
  }

  /** Reads a blob out of containerd's content store. Rejects if it is not there. */
  async blobSha256(digest: string): Promise<string> {
    const path = join(this.containerd.contentPath, 'blobs', digest.replace(':', '/'))
    const { code, stdout, stderr } = await execute('sha256sum', [path])
    if (code !== 0) throw new Error(stderr)
    return `sha256:${stdout.split(' ')[0]}`
  }

  get #ctr(): string {
    return join(this.#options.containerd.binDir, 'ctr')
  }

  async #pullArguments(image: string, options: PullOptions): Promise<string[]> {
    const user = options.user === undefined ? [] : ['--user', options.user]
    const where = options.explicit === true ? ['--plain-http'] : ['--hosts-dir', this.#writeHosts(options)]
    const common = [...where, ...user]
    const global = ['--address', this.containerd.socket, '--namespace', NAMESPACE]
    if (options.unpack === false) return [...global, 'content', 'fetch', ...common, image]
    this.#snapshotter ??= await this.#chooseSnapshotter()
    return [...global, 'images', 'pull', ...common, '--snapshotter', this.#snapshotter, image]
  }

  #writeHosts(
    { fallback = 'hub', withoutNabo = false, mirrorUrl = MIRROR_URL }: PullOptions,
    directory?: string,
  ): string {
    const kind = `${withoutNabo ? 'direct' : 'nabo'}-${fallback}`
    const hosts = join(this.directory, directory ?? `certs-${kind}.d`)
    const server = fallback === 'hub' ? this.#options.hubUrl : NOBODY_URL
    // containerd 1.6 ignores a file without a host section.
    const host = withoutNabo ? server : mirrorUrl
    const section = `[host."${host}"]\n  capabilities = ["pull", "resolve"]\n`
    mkdirSync(join(hosts, 'docker.io'), { recursive: true })
    // In one step: another pull may be reading it.
    const file = join(hosts, 'docker.io', 'hosts.toml')
    const part = `${file}.${randomUUID()}`
    writeFileSync(part, `server = "${server}"\n\n${section}`)
    renameSync(part, file)
    return hosts
  }

  /** overlayfs where it works; in some containers it does not. */
  async #chooseSnapshotter(): Promise<string> {
    const { stdout } = await this.containerd.ctr('plugins', 'list')
    return /\boverlayfs\s.*\bok\b/.test(stdout) ? 'overlayfs' : 'native'
  }
}
