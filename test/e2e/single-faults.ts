import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { criConfig, startBareContainerd } from '../support/bare-containerd.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import { findContainerd } from '../support/containerd.ts'
import { findTool } from '../support/debian-tool.ts'
import type { Cluster } from '../support/netns-cluster.ts'
import { runSync } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'

/** Where a fault is made. */
export interface Place {
  readonly cluster: Cluster
  /** The node that breaks. */
  readonly node: ClusterNode
  /** Of this fault alone. */
  readonly directory: string
  /** Undoes something when the test of the fault ends. */
  defer(undo: () => unknown): void
}

/** One thing that is wrong with a node. */
export interface Fault {
  readonly name: string
  /** Makes it, and returns the flags of the broken node, besides or instead of those of a healthy one. */
  readonly flags: (at: Place) => readonly string[] | Promise<readonly string[]>
  /** What makes the fault show, after the start. */
  readonly provoke?: (at: Place) => Promise<unknown>
  /** The check, and what it says. */
  readonly finding: readonly [string, RegExp]
  /** Its line in the log of the daemon, where that has other words. */
  readonly logs?: RegExp
  /** The healthy node's check that reports its neighbour. */
  readonly onHealthy?: string
  /** Whether the healthy node has the broken one as a neighbour, and so is told. */
  readonly isMember?: boolean
  /** A daemon that does not start says why, and doctor has the same flags. */
  readonly dies?: RegExp
  /** Requests alone do not show it to the daemon: it takes doctor, which asks the registry what it is. */
  readonly onlyDoctor?: boolean
}

const LAYER_KEEPING = { discardsLayers: false }

function inFile({ directory }: Place, name: string, text: string, mode = 0o600): string {
  const file = join(directory, name)
  writeFileSync(file, text, { mode })
  return file
}

const credentials = (config: object) => (at: Place) => [
  '--credentials-file',
  inFile(at, 'config.json', JSON.stringify(config)),
]

const askForTag = ({ node }: Place) => node.fetch(TAG, { method: 'HEAD' })
const TAG = 'http://127.0.0.1:7950/v2/library/app/manifests/1?ns=docker.io'

/** A disk of so many bytes, as `size` of mount(8) says it. */
function disk({ directory }: Place, size: string): string {
  const path = join(directory, 'disk')
  mkdirSync(path)
  runSync('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'nabo-test', path)
  return path
}

/** A containerd that is set up for Nabo, but for what `config` says, and the flags that name it. */
async function containerd(
  at: Place,
  config: (certs: string) => readonly string[],
  { hosts = '[host."http://127.0.0.1:7950"]\ncapabilities = ["pull", "resolve"]\n', isKilled = false } = {},
): Promise<readonly string[]> {
  const found = await findContainerd()
  if ('skip' in found) throw new Error(found.skip)
  const certs = join(at.directory, 'certs.d')
  mkdirSync(join(certs, '_default'), { recursive: true })
  if (hosts !== '') writeFileSync(join(certs, '_default/hosts.toml'), hosts)
  const root = join(at.directory, 'c')
  const running = await startBareContainerd({ root, binDir: found.binDir, config: config(certs) })
  at.defer(() => running.stop())
  if (isKilled) await running.kill()
  return [
    ...['--store', 'containerd', '--containerd-socket', running.socket, '--content-path', running.contentPath],
    ...['--containerd-config', running.configFile, '--config-dir', certs],
  ]
}

/** nft, or why it cannot be had here. */
export const nft = await findTool('nftables')

/** In this order: what a healthy node remembers for some minutes is last. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'a secret that is too short',
    flags: (at) => ['--cluster-secret-file', inFile(at, 'short', 'short\n')],
    finding: ['secret', /at least 16 characters/],
    dies: /at least 16 characters/,
  },
  {
    name: 'a bootstrap node at which nothing listens',
    flags: () => ['--bootstrap', 'static:10.123.0.99'],
    finding: ['peers', /no other node is known: 10\.123\.0\.99:7952 cannot be reached/],
    isMember: false,
  },
  {
    name: 'a bootstrap list that cannot be fetched',
    flags: () => ['--bootstrap', 'http:http://127.0.0.1:1/nodes'],
    finding: ['peers', /--bootstrap cannot be asked/],
    isMember: false,
  },
  {
    name: 'an announced address of no node',
    onHealthy: 'peers',
    flags: () => ['--advertise-addr', '10.123.0.77'],
    finding: ['reachable', /cannot reach this one at 10\.123\.0\.77:7951/],
    isMember: false,
  },
  {
    name: 'an announced loopback address',
    flags: () => ['--advertise-addr', '127.0.0.1'],
    finding: ['reachable', /which they would be told, is loopback/],
    dies: /which they would be told, is loopback/,
  },
  {
    name: 'a mirror port that another program has',
    flags: async (at) => {
      const { node } = at
      const script = `require('http').createServer((q, s) => s.end('hello')).listen(7950, '127.0.0.1')`
      const other = node.spawn(process.execPath, ['-e', script])
      at.defer(() => other.kill())
      await eventually('it listens', () => node.fetch('http://127.0.0.1:7950/').catch(() => undefined))
      return []
    },
    finding: ['ports', /another program listens on 127\.0\.0\.1:7950/],
    dies: /127\.0\.0\.1:7950.*is taken by another program/,
  },
  {
    name: 'a registry at which nothing listens',
    flags: () => ['--upstream', 'docker.io=http://127.0.0.1:1'],
    // The daemon goes by what its requests show, and one failure is none yet.
    provoke: async (at) => {
      for (let i = 0; i < 4; i++) await askForTag(at)
    },
    finding: ['upstream', /127\.0\.0\.1:1 cannot be used: /],
  },
  {
    name: 'a path at the registry that is none',
    flags: ({ cluster }) => ['--upstream', `docker.io=${cluster.hubUrl}/hub-proxy`],
    finding: ['upstream', /so no registry is there/],
    onlyDoctor: true,
  },
  {
    name: 'a quota that is used up',
    flags: ({ cluster }) => ['--upstream', `docker.io=${cluster.mirror?.registryUrl}`],
    provoke: async (at) => {
      await askForTag(at)
      await at.node.fetch(TAG)
    },
    finding: ['quota', /the quota is used up: 0 of 1 pulls/],
  },
  {
    name: 'a registry that is Nabo itself',
    flags: () => ['--upstream', 'docker.io=http://127.0.0.1:7950'],
    finding: ['loop', /which Nabo asks for docker\.io, is (?:a Nabo itself|this node's own mirror)/],
  },
  {
    name: 'a wrong password',
    flags: credentials({ auths: { 'docker.io': { username: 'ann', password: 'wrong' } } }),
    provoke: askForTag,
    finding: ['credentials', /docker\.io .*refuses (?:the account ann|credentials) of this node/],
    logs: /refuse/,
  },
  {
    name: 'a credential helper that is not there',
    flags: credentials({ credHelpers: { 'docker.io': 'none-of-that-name' } }),
    provoke: askForTag,
    finding: ['credentials', /docker-credential-none-of-that-name gives no credentials/],
    logs: /a credential helper gave no answer/,
  },
  {
    name: 'a credentials file that is none',
    flags: (at) => ['--credentials-file', inFile(at, 'none.json', 'user: ann')],
    finding: ['upstream', /Nabo cannot start: .*is not a Docker config\.json/],
    dies: /is not a Docker config\.json/,
  },
  {
    name: 'a credentials file that breaks while the daemon runs',
    flags: credentials({ auths: {} }),
    provoke: async (at) => {
      await askForTag(at)
      inFile(at, 'config.json', 'user: ann')
      await eventually('it is read again', async () => {
        await askForTag(at)
        const { body } = await at.node.fetch('http://127.0.0.1:7953/api/v1/status')
        return Buffer.from(body).toString().includes('is not a Docker config.json')
      })
    },
    finding: ['credentials', /is not a Docker config\.json.*so what it said before is used/],
    logs: /the credentials file has changed and cannot be used/,
  },
  {
    name: 'patterns of images that contradict the registries',
    flags: () => ['--registries', 'docker.io', '--include', 'ghcr.io/org/*'],
    finding: ['images', /--include ghcr\.io\/org\/\* has no effect/],
  },
  {
    name: 'a cache larger than its disk',
    flags: (at) => ['--cache-dir', disk(at, '200m'), '--cache-size', '1GiB'],
    finding: ['space', /the cache may take 1\.0 GiB \(--cache-size\), but/],
  },
  {
    name: 'a disk without room',
    flags: (at) => {
      const cache = disk(at, '50m')
      runSync('dd', 'if=/dev/zero', `of=${join(cache, 'other')}`, 'bs=1M', 'count=49', 'status=none')
      runSync('dd', 'if=/dev/zero', `of=${join(cache, 'rest')}`, 'bs=4k', 'count=240', 'status=none')
      return ['--cache-dir', cache]
    },
    finding: ['space', /^0 MiB of 50 MiB are free/],
  },
  {
    name: 'a cache directory that is a file',
    flags: (at) => ['--cache-dir', inFile(at, 'file', '')],
    finding: ['content', /is not a directory/],
    dies: /cache directory/,
  },
  {
    name: 'a containerd that has ended',
    flags: (at) => containerd(at, (configPath) => criConfig({ configPath, ...LAYER_KEEPING }), { isKilled: true }),
    finding: ['containerd', /nothing answers at .*c\.sock/],
  },
  {
    name: 'a containerd that reads no hosts.toml',
    flags: (at) => containerd(at, () => criConfig(LAYER_KEEPING)),
    finding: ['config-path', /config_path is not set|takes its default list/],
  },
  {
    name: 'nothing that sends containerd to Nabo',
    flags: (at) => containerd(at, (configPath) => criConfig({ configPath, ...LAYER_KEEPING }), { hosts: '' }),
    finding: ['hosts-toml', /sends containerd to Nabo/],
  },
  {
    name: 'a containerd that throws layers away',
    flags: (at) => containerd(at, (configPath) => criConfig({ configPath, discardsLayers: true })),
    finding: ['unpacked-layers', /throws layers away/],
  },
  {
    name: 'a firewall before the peer port',
    flags: async (at) => {
      if ('skip' in nft) throw new Error(nft.skip)
      const rules = inFile(
        at,
        'rules.nft',
        'table inet firewall { chain input { type filter hook input priority 0; iifname eth0 tcp dport 7951 drop\n}\n}\n',
      )
      const program = join(nft.binDir, 'nft')
      const loaded = await at.node.exec(program, ['-f', rules])
      if (loaded.code !== 0) throw new Error(loaded.stderr)
      at.defer(() => at.node.exec(program, ['flush', 'ruleset']))
      return []
    },
    onHealthy: 'peers',
    finding: ['reachable', /1 of 1 other nodes cannot reach this one/],
    isMember: false,
  },
  {
    name: 'another cluster secret',
    flags: (at) => [
      '--cluster-secret-file',
      inFile(at, 'other-secret', 'the secret of another cluster, long enough\n'),
    ],
    onHealthy: 'secret',
    finding: ['secret', /another cluster secret than this node, which knows no other node/],
    logs: /another cluster secret, so that neither/,
    isMember: false,
  },
]
