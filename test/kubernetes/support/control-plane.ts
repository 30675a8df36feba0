import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { Child } from '../../support/child.ts'
import type { NetHost } from '../../support/netns/network.ts'
import { eventually } from '../../support/poll.ts'
import { Kubectl } from '../../../bench/cluster/kubectl.ts'
import { Authority } from './certificates.ts'

/** Where the programs of the control plane are. */
export interface ControlPlanePrograms {
  /** Of scripts/kubernetes-programs.sh. */
  readonly kubernetes: string
  /** etcd's directory. */
  readonly etcd: string
}

const SERVICES = '10.96.0.0/16'
const API_SERVICE = '10.96.0.1'

/** etcd, the API server, the controllers and the scheduler, as processes in the network of one host. They end with this process. */
export class ControlPlane {
  readonly host: NetHost
  readonly kubectl: Kubectl
  readonly authority: Authority
  readonly #directory: string
  readonly #programs: ControlPlanePrograms
  readonly #children = new Map<string, Child>()

  private constructor(options: { host: NetHost; directory: string; programs: ControlPlanePrograms }, ca: Authority) {
    this.host = options.host
    this.#directory = options.directory
    this.#programs = options.programs
    this.authority = ca
    const [command = '', ...flags] = this.asAdministrator(this.#program('kubectl'))
    this.kubectl = new Kubectl({ command, flags })
  }

  static async start(options: {
    host: NetHost
    directory: string
    programs: ControlPlanePrograms
  }): Promise<ControlPlane> {
    const authority = await Authority.create(join(options.directory, 'pki'), 'kubernetes-ca')
    const plane = new ControlPlane(options, authority)
    await plane.#start()
    return plane
  }

  /** What runs a program in the control plane's network: the program and its arguments follow. */
  get place(): readonly string[] {
    return ['ip', 'netns', 'exec', this.host.netns]
  }

  /** The same for kubectl and Helm, as the administrator of the cluster: their arguments follow. */
  asAdministrator(program: string): readonly string[] {
    return [...this.place, program, '--kubeconfig', this.kubeconfigOf('admin')]
  }

  /** The last lines of each program, for the message of a failure. */
  logs(lines = 8): string {
    const told = (child: Child) =>
      child.lines.filter((line) => !line.startsWith('I') && !line.includes('requestheader-client-ca'))
    return [...this.#children].map(([name, child]) => `== ${name}\n${told(child).slice(-lines).join('\n')}`).join('\n')
  }

  kubeconfigOf(name: string): string {
    return join(this.#directory, `${name}.kubeconfig`)
  }

  /** Writes a kubeconfig for a new user of the cluster; returns its path. */
  async addUser(name: string, subject: string, names: readonly string[] = []): Promise<string> {
    const { key, certificate } = await this.authority.issue(name, subject, names)
    const cluster = { server: `https://${this.host.ip}:6443`, 'certificate-authority': this.authority.certificate }
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name, user: { 'client-certificate': certificate, 'client-key': key } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
      'current-context': 'test',
    }
    await writeFile(this.kubeconfigOf(name), JSON.stringify(config))
    return this.kubeconfigOf(name)
  }

  async #start(): Promise<void> {
    const { host, authority } = this
    const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map((name) => `DNS:${name}`)
    const addresses = [API_SERVICE, host.ip, '127.0.0.1'].map((ip) => `IP:${ip}`)
    const server = await authority.issue('apiserver', '/CN=kube-apiserver', [...names, ...addresses])
    const toKubelets = await authority.issue('to-kubelets', '/O=system:masters/CN=to-kubelets')
    await this.addUser('admin', '/O=system:masters/CN=admin')
    const controllers = await this.addUser('controllers', '/CN=system:kube-controller-manager')
    const scheduler = await this.addUser('scheduler', '/CN=system:kube-scheduler')
    await this.addUser('proxy', '/CN=system:kube-proxy')
    const tokens = await authority.tokenKey()

    const data = join(this.#directory, 'etcd')
    await mkdir(data, { mode: 0o700 })
    const etcd = 'http://127.0.0.1:2379'
    this.#run('etcd', join(this.#programs.etcd, 'etcd'), {
      'data-dir': data,
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': 'http://127.0.0.1:2380',
      // What is in it ends with the test.
      'unsafe-no-fsync': '',
      logger: 'zap',
      'log-level': 'warn',
    })
    this.#run('kube-apiserver', this.#program('kube-apiserver'), {
      'etcd-servers': etcd,
      'advertise-address': host.ip,
      'secure-port': '6443',
      'service-cluster-ip-range': SERVICES,
      'client-ca-file': authority.certificate,
      'tls-cert-file': server.certificate,
      'tls-private-key-file': server.key,
      'kubelet-client-certificate': toKubelets.certificate,
      'kubelet-client-key': toKubelets.key,
      'kubelet-certificate-authority': authority.certificate,
      'kubelet-preferred-address-types': 'InternalIP',
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': tokens,
      'service-account-signing-key-file': tokens,
      'authorization-mode': 'Node,RBAC',
      'enable-admission-plugins': 'NodeRestriction',
      'allow-privileged': 'true',
    })
    await eventually('the API server is ready', async () => {
      this.#throwIfEnded()
      return (await this.kubectl.run(['get', '--raw', '/readyz'], { timeoutMs: 5000 })) === 'ok'
    })
    this.#run('kube-controller-manager', this.#program('kube-controller-manager'), {
      ...this.#asUser(controllers),
      'use-service-account-credentials': 'true',
      'root-ca-file': authority.certificate,
      'service-account-private-key-file': tokens,
    })
    this.#run('kube-scheduler', this.#program('kube-scheduler'), this.#asUser(scheduler))
  }

  #asUser(kubeconfig: string): Record<string, string> {
    return {
      kubeconfig,
      'authentication-kubeconfig': kubeconfig,
      'authorization-kubeconfig': kubeconfig,
      'leader-elect': 'false',
      'bind-address': '127.0.0.1',
    }
  }

  #run(name: string, program: string, flags: Readonly<Record<string, string>>): void {
    const args = Object.entries(flags).map(([flag, value]) => (value === '' ? `--${flag}` : `--${flag}=${value}`))
    this.#children.set(name, new Child(program, args, { netns: this.host.netns }))
  }

  #program(name: string): string {
    return join(this.#programs.kubernetes, name)
  }

  #throwIfEnded(): void {
    for (const [name, child] of this.#children)
      if (child.exit !== undefined) throw new Error(`${name} has ended:\n${child.lines.slice(-20).join('\n')}`)
  }
}
