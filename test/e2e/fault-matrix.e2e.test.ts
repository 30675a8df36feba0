// Breaks one thing at a time beside a healthy node: `nabo doctor` names exactly that cause on the broken node, and nothing on the healthy one.
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

import type { ClusterNode } from '../support/cluster-node.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { runSync } from '../support/netns/commands.ts'
import { eventually } from '../support/poll.ts'

const skip = (await clusterUnavailable()) ?? false
const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const FLAGS = ['--store', 'directory', '--cache-size', '1MiB']

const findingsSchema = z.object({
  findings: z.array(z.object({ id: z.string(), level: z.string(), says: z.string(), fix: z.string().optional() })),
})
type Findings = z.infer<typeof findingsSchema>['findings']

interface Fault {
  readonly name: string
  /** Of the broken node, besides or instead of those of a healthy one. */
  readonly flags: (at: { cluster: Cluster; directory: string }) => readonly string[]
  /** Set in front of the program. */
  readonly env?: Readonly<Record<string, string>>
  /** What makes the fault show, after the start. */
  readonly provoke?: (node: ClusterNode) => Promise<unknown>
  /** The check, and what it says. */
  readonly finding: readonly [string, RegExp]
  /** The check of the healthy node that reports its neighbour. */
  readonly onHealthy?: string
  /** A daemon that does not start says why, and doctor has the same flags. */
  readonly dies?: RegExp
}

const CREDENTIALS = (config: object) => (at: { directory: string }) => {
  const file = join(at.directory, 'config.json')
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  return ['--credentials-file', file]
}
const askForTag = (node: ClusterNode) =>
  node.fetch('http://127.0.0.1:7950/v2/library/app/manifests/1?ns=docker.io', { method: 'HEAD' })

const FAULTS: readonly Fault[] = [
  {
    name: 'a secret that is too short',
    flags: ({ directory }) => {
      const file = join(directory, 'short')
      writeFileSync(file, 'short\n', { mode: 0o600 })
      return ['--cluster-secret-file', file]
    },
    finding: ['secret', /at least 16 characters/],
    dies: /at least 16 characters/,
  },
  {
    name: 'a bootstrap node at which nothing listens',
    flags: () => ['--bootstrap', 'static:10.123.0.99'],
    finding: ['peers', /no other node is known: 10\.123\.0\.99:7952 cannot be reached/],
  },
  {
    name: 'a bootstrap list that cannot be fetched',
    flags: () => ['--bootstrap', 'http:http://127.0.0.1:1/nodes'],
    finding: ['peers', /--bootstrap cannot be asked/],
  },
  {
    name: 'an announced address of no node',
    onHealthy: 'peers',
    flags: () => ['--advertise-addr', '10.123.0.77'],
    finding: ['reachable', /cannot reach this one at 10\.123\.0\.77:7951/],
  },
  {
    name: 'an announced loopback address',
    flags: () => ['--advertise-addr', '127.0.0.1'],
    finding: ['reachable', /which they would be told, is loopback/],
    dies: /which they would be told, is loopback/,
  },
  {
    name: 'a registry at which nothing listens',
    flags: () => ['--upstream', 'docker.io=http://127.0.0.1:1'],
    finding: ['upstream', /127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED/],
  },
  {
    name: 'a path at the registry that is none',
    flags: ({ cluster }) => ['--upstream', `docker.io=${cluster.hubUrl}/hub-proxy`],
    finding: ['upstream', /so no registry is there/],
  },
  {
    name: 'a wrong password',
    flags: CREDENTIALS({ auths: { 'docker.io': { username: 'ann', password: 'wrong' } } }),
    provoke: askForTag,
    finding: ['credentials', /docker\.io .*refuses the account ann of this node/],
  },
  {
    name: 'a credential helper that is not there',
    flags: CREDENTIALS({ credHelpers: { 'docker.io': 'none-of-that-name' } }),
    provoke: askForTag,
    finding: ['credentials', /docker-credential-none-of-that-name gives no credentials/],
  },
  {
    name: 'a credentials file that is none',
    flags: ({ directory }) => {
      const file = join(directory, 'none.json')
      writeFileSync(file, 'user: ann', { mode: 0o600 })
      return ['--credentials-file', file]
    },
    finding: ['upstream', /Nabo cannot start: .*is not a Docker config\.json/],
    dies: /is not a Docker config\.json/,
  },
  {
    name: 'a cache larger than its disk',
    flags: ({ directory }) => {
      const disk = join(directory, 'disk')
      mkdirSync(disk)
      runSync('mount', '-t', 'tmpfs', '-o', 'size=200m', 'nabo-test', disk)
      return ['--cache-dir', disk, '--cache-size', '1GiB']
    },
    finding: ['space', /the cache may take 1\.0 GiB \(--cache-size\), but/],
  },
  {
    name: 'a cache directory that is a file',
    flags: ({ directory }) => {
      writeFileSync(join(directory, 'file'), '')
      return ['--cache-dir', join(directory, 'file')]
    },
    finding: ['content', /is not a directory/],
    dies: /cache directory/,
  },
  // Last: the healthy node remembers it for three minutes.
  {
    name: 'another cluster secret',
    flags: ({ directory }) => {
      const file = join(directory, 'other-secret')
      writeFileSync(file, 'the secret of another cluster, long enough\n', { mode: 0o600 })
      return ['--cluster-secret-file', file]
    },
    onHealthy: 'secret',
    finding: ['secret', /another cluster secret than this node, which knows no other node/],
  },
]

describe('one fault at a time', { skip }, () => {
  let cluster: Cluster
  let healthy: NaboProcess

  before(async () => {
    cluster = await createCluster({ nodes: 2, hub: { quota: { anonymous: 100, windowSeconds: 3600 } } })
    healthy = cluster.node(0).startNabo(FLAGS)
    await healthy.ready()
  })
  after(() => cluster.dispose())

  const findingsOf = async (node: ClusterNode, flags: readonly string[]): Promise<Findings> => {
    const { stdout, stderr } = await node.exec(NABO, ['doctor', '--json', '--timeout', '20s', ...flags])
    assert.ok(stdout.startsWith('{'), stdout + stderr)
    return findingsSchema.parse(JSON.parse(stdout)).findings
  }
  const faults = (findings: Findings) => findings.filter(({ level }) => ['error', 'warning'].includes(level))

  for (const [number, { name, flags, provoke, finding, onHealthy, dies }] of FAULTS.entries()) {
    it(`${name}: ${finding[0]}`, async () => {
      const node = cluster.node(1)
      const directory = join(cluster.directory, `fault-${number}`)
      mkdirSync(directory)
      const own = [...FLAGS, ...flags({ cluster, directory })]
      const last = own.filter((_, at) => at % 2 === 0).map((flag, at) => [flag, own[2 * at + 1] ?? ''] as const)
      const given = [...new Map(last).entries()].flat()
      const broken = node.startNabo(given)
      try {
        let asked = ['--admin-socket', node.adminSocket]
        if (dies === undefined) {
          await broken.listening()
          await provoke?.(node)
        } else {
          await eventually('it ends', () => broken.exit)
          assert.match(broken.logs.join('\n'), dies)
          const healthyFlags = {
            '--upstream': `docker.io=${cluster.hubUrl}`,
            '--bootstrap': `static:${cluster.node(0).ip}`,
            '--cluster-secret-file': cluster.secretFile,
            '--advertise-addr': node.ip,
          }
          asked = ['--admin-socket', 'none', ...Object.entries({ ...healthyFlags, ...Object.fromEntries(last) }).flat()]
        }
        const [id, says] = finding
        // That the daemon does not run is no second cause.
        const ignored = dies === undefined ? [] : ['ports']
        const found = await eventually(
          `exactly ${id} is named`,
          async () => {
            const all = faults(await findingsOf(node, asked)).filter((one) => !ignored.includes(one.id))
            return all.length === 1 && all[0]?.id === id ? all[0] : undefined
          },
          { timeoutMs: 60_000, everyMs: 1_000 },
        ).catch(async (cause: unknown) => {
          throw new Error(`found: ${JSON.stringify(faults(await findingsOf(node, asked)))}`, { cause })
        })
        assert.match(found.says, says)
        assert.ok(found.fix, 'it says what to change')
        const beside = faults(await findingsOf(cluster.node(0), ['--admin-socket', cluster.node(0).adminSocket]))
        assert.deepEqual(
          beside.map((one) => one.id),
          onHealthy === undefined ? [] : [onHealthy],
          JSON.stringify(beside),
        )
      } finally {
        await broken.stop()
      }
    })
  }
})
