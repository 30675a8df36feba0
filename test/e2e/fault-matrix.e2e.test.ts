// Breaks one thing at a time beside a healthy node: `nabo doctor`, `/readyz` and the log of the broken node name exactly that cause, its neighbour is
// told it, and `nabo doctor` on the healthy node names nothing else.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

import { makeImage } from '../support/image-maker.ts'
import type { ClusterNode } from '../support/cluster-node.ts'
import { type Findings, findingsSchema } from '../support/findings.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { type Cluster, clusterUnavailable, createCluster } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'
import { FAULTS, type Fault, nft, type Place } from './single-faults.ts'

const skip = (await clusterUnavailable()) ?? ('skip' in nft ? nft.skip : false)
const NABO = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
const FLAGS = ['--store', 'directory', '--cache-size', '1MiB']
/** Faults that are tried side by side, each with a healthy node of its own: most of the time of each is spent waiting. */
const LANES = 3

const peersSchema = z.object({ peers: z.array(findingsSchema.extend({ address: z.string() })) })
const readinessSchema = z.object({ warnings: z.array(z.string()) })

interface Lane {
  readonly healthy: ClusterNode
  readonly node: ClusterNode
}

function faultsOf(findings: Findings): Findings {
  return findings.filter(({ level }) => ['error', 'warning'].includes(level))
}

async function findingsOf(node: ClusterNode, flags: readonly string[]): Promise<Findings> {
  const { stdout, stderr } = await node.exec(NABO, ['doctor', '--json', '--timeout', '20s', ...flags])
  assert.ok(stdout.startsWith('{'), stdout + stderr)
  return faultsOf(findingsSchema.parse(JSON.parse(stdout)).findings)
}

async function answerOf<T>(node: ClusterNode, path: string, schema: z.ZodType<T>): Promise<T> {
  const { body } = await node.fetch(`http://127.0.0.1:7953${path}`)
  return schema.parse(JSON.parse(Buffer.from(body).toString()))
}

/** Without the flags that a later one replaces. */
function withoutRepeated(flags: readonly string[]): readonly string[] {
  const pairs = flags.filter((_, at) => at % 2 === 0).map((flag, at) => [flag, flags[2 * at + 1] ?? ''] as const)
  return [...new Map(pairs).entries()].flat()
}

/** Waits until exactly one fault is named, which is that of this check. */
async function onlyFinding(fault: Fault, look: () => Promise<Findings>): Promise<Findings[number]> {
  const [id, says] = fault.finding
  const found = await eventually(
    `exactly ${id} is named`,
    async () => {
      const all = await look()
      return all.length === 1 && all[0]?.id === id && says.test(all[0].says) ? all[0] : undefined
    },
    { timeoutMs: 60_000, everyMs: 1_000 },
  ).catch(async (cause: unknown) => {
    throw new Error(`found: ${JSON.stringify(await look())}`, { cause })
  })
  assert.ok(found.fix, 'it says what to change')
  return found
}

/** `/readyz` has this finding and no other, and the log has it once. */
async function daemonNames({ finding: [id, says], logs = says }: Fault, node: ClusterNode, nabo: NaboProcess) {
  const named = () => nabo.logs.filter((line) => /"level":"(?:warn|error)"/.test(line) && logs.test(messageOf(line)))
  await eventually(
    '/readyz and the log name it',
    async () => {
      // The daemon makes its checks when somebody asks, too.
      await node.fetch('http://127.0.0.1:7953/api/v1/checks')
      const all = await readinessOf(node)
      return all.length === 1 && all.every((text) => says.test(text)) && named().length > 0
    },
    { timeoutMs: 60_000, everyMs: 1_000 },
  ).catch(async (cause: unknown) => {
    const readiness = JSON.stringify(await readinessOf(node))
    throw new Error(`${readiness}\n${nabo.logs.join('\n')}`, { cause })
  })
  assert.equal(named().length, 1, named().join('\n'))
  const checks = nabo.logs.filter((line) => /"level":"(?:warn|error)".*"check":/.test(line))
  const others = checks.filter((line) => !line.includes(`"check":"${id}"`))
  assert.deepEqual(others, [], 'the log names no other finding')
}

/** The findings in `/readyz`, without the titles of the checks. */
async function readinessOf(node: ClusterNode): Promise<readonly string[]> {
  const { warnings } = await answerOf(node, '/readyz', readinessSchema)
  return warnings.map((text) => text.replace(/^[^:]*: /, ''))
}

function messageOf(line: string): string {
  const parsed = z.object({ msg: z.string(), err: z.string().optional() }).safeParse(JSON.parse(line)).data
  return `${parsed?.msg ?? ''} ${parsed?.err ?? ''}`.trim()
}

/** The healthy node is told what its neighbour finds, and by whom. */
async function neighbourIsTold({ finding: [id, says] }: Fault, { healthy, node }: Lane) {
  const address = `${node.ip}:7951`
  await eventually('the healthy node is told', async () => {
    const { stdout } = await healthy.exec(NABO, ['peers', '--json'])
    const { peers } = peersSchema.parse(JSON.parse(stdout))
    const told = peers.find((peer) => peer.address === address)?.findings.find((finding) => finding.id === id)
    return told !== undefined && says.test(told.says.replace(/^[^:]*: /, '')) && told.seenBy?.join() === address
  })
}

describe('one fault at a time', { skip, concurrency: LANES }, () => {
  let cluster: Cluster
  /** Those in which no fault is tried now. */
  let free: Lane[]

  before(async () => {
    const quota = (anonymous: number) => ({ quota: { anonymous, windowSeconds: 3600 } })
    cluster = await createCluster({ nodes: 2 * LANES, hub: quota(1_000), mirror: quota(1) })
    await cluster.mirror?.publish('app', '1', makeImage({ layers: [{ size: 1_000, seed: 1 }] }))
    free = Array.from({ length: LANES }, (_, i) => ({
      healthy: cluster.node(2 * i),
      node: cluster.node(2 * i + 1),
    }))
    await Promise.all(free.map(({ healthy }) => healthy.startNabo([...FLAGS, '--bootstrap', 'none']).ready()))
  })
  after(() => cluster.dispose())

  const ownFlags = (lane: Lane, fault: readonly string[]) =>
    withoutRepeated([...FLAGS, '--bootstrap', `static:${lane.healthy.ip}`, ...fault])

  /** The flags for `nabo doctor` where no daemon runs that could be asked for them. */
  const withoutDaemon = ({ node }: Lane, flags: readonly string[]) => [
    ...['--admin-socket', 'none'],
    ...withoutRepeated([
      ...['--upstream', `docker.io=${cluster.hubUrl}`, '--cluster-secret-file', cluster.secretFile],
      ...['--advertise-addr', node.ip, ...flags],
    ]),
  ]

  const check = async (fault: Fault, lane: Lane, at: Place) => {
    const { node, healthy } = lane
    const flags = ownFlags(lane, await fault.flags(at))
    const broken = node.startNabo(flags)
    at.defer(() => broken.stop())
    const { dies } = fault
    if (dies === undefined) {
      await broken.listening()
      await fault.provoke?.(at)
      await onlyFinding(fault, () => findingsOf(node, ['--admin-socket', node.adminSocket]))
      if (fault.onlyDoctor !== true) await daemonNames(fault, node, broken)
      if (fault.isMember !== false && fault.onlyDoctor !== true) await neighbourIsTold(fault, lane)
    } else {
      await eventually('it ends', () => broken.exit)
      assert.match(broken.logs.join('\n'), dies)
      // That the daemon does not run is no second cause.
      const ofTheDaemon = fault.finding[0] === 'ports' ? [] : ['ports']
      await onlyFinding(fault, async () =>
        (await findingsOf(node, withoutDaemon(lane, flags))).filter(({ id }) => !ofTheDaemon.includes(id)),
      )
    }
    const beside = await findingsOf(healthy, ['--admin-socket', healthy.adminSocket])
    const expected = fault.onHealthy === undefined ? [] : [fault.onHealthy]
    assert.deepEqual(
      beside.map((one) => one.id),
      expected,
      JSON.stringify(beside),
    )
    await healthy.fetch('http://127.0.0.1:7953/api/v1/checks')
    const named = await readinessOf(healthy)
    assert.ok(named.length <= expected.length, `the healthy node: ${named.join('; ')}`)
  }

  for (const [number, fault] of FAULTS.entries()) {
    it(`${fault.name}: ${fault.finding[0]}`, async () => {
      const lane = free.shift() ?? assert.fail('more faults at once than lanes')
      const directory = join(cluster.directory, `f${number}`)
      mkdirSync(directory)
      const undo: (() => unknown)[] = []
      const at: Place = { cluster, node: lane.node, directory, defer: (one) => undo.unshift(one) }
      try {
        await check(fault, lane, at)
      } finally {
        for (const one of undo) await one()
        free.push(lane)
      }
    })
  }
})
