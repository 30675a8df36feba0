import { z } from 'zod'

import packageJson from '../../../package.json' with { type: 'json' }
import { errorText } from '../../../src/telemetry/log.ts'
import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import { makeImageProgram } from '../../../test/support/nabo-bundle.ts'
import type { NaboOptions, NaboProcess, RequestLine } from '../../../test/support/nabo-process.ts'
import { eventually } from '../../../test/support/poll.ts'
import type { Version } from '../images.ts'
import type { Transfer } from '../results.ts'
import { type Contender, type Mirror, MirrorFailure, type Site } from './contender.ts'

const statusSchema = z.object({
  peers: z.number(),
  blobs: z.number(),
  index: z.object({ ownKeys: z.number(), membersHeard: z.number(), peersInSync: z.number() }),
})

const READY_MS = 60_000

/** This checkout's Nabo on every node, as its image has it, which is made in `directory`. */
export async function nabo(directory: string): Promise<Contender> {
  const how = await makeImageProgram(directory)
  return {
    id: 'nabo',
    title: 'Nabo',
    description: 'a Nabo on every node, with its defaults, as its image has it: one bundle that was compiled ahead',
    version: packageJson.version,
    start: (site) => startAll(site, how),
  }
}

async function startAll(site: Site, how: Pick<NaboOptions, 'program' | 'env'>): Promise<Mirror> {
  const daemons = new Map(site.nodes.map((node) => [node, node.startNabo([], [], how)]))
  const all = [...daemons.values()]
  try {
    await Promise.all(all.map((daemon) => daemon.ready(READY_MS)))
    await eventually('all Nabos know each other', () => knowEachOther(all), { timeoutMs: READY_MS, everyMs: 200 })
  } catch (cause) {
    throw new MirrorFailure(`Nabo did not become ready: ${errorText(cause)}`, logOf(daemons), { cause })
  }
  return {
    processes: [...daemons].map(([node, daemon]) => ({
      node: node.name,
      pid: daemon.pid,
      ended: () => daemon.exit && `${daemon.exit.signal ?? daemon.exit.code}`,
      log: () => daemon.logs,
      kill: async () => void (await daemon.kill()),
    })),
    urlFor: () => 'http://127.0.0.1:7950',
    settle: async (holders, versions, options) => {
      const told = holders.flatMap((node) => daemons.get(node) ?? [])
      await eventually('what nodes hold is known', () => areAnnounced(told, versions), {
        timeoutMs: READY_MS,
        ...options,
      })
    },
    transfers: (began) => transfersOf(site, daemons, began),
  }
}

async function knowEachOther(all: readonly NaboProcess[]): Promise<boolean> {
  const statuses = await Promise.all(all.map(statusOf))
  const others = all.length - 1
  return statuses.every(
    ({ peers, index }) => peers === others && index.membersHeard === others && index.peersInSync === others,
  )
}

async function areAnnounced(holders: readonly NaboProcess[], versions: readonly Version[]): Promise<boolean> {
  const digests = new Set(versions.flatMap(({ image }) => heldDigests(image)))
  const statuses = await Promise.all(holders.filter(({ exit }) => exit === undefined).map(statusOf))
  return statuses.every(
    // Each version has one tag besides its blobs.
    ({ peers, blobs, index }) =>
      blobs >= digests.size && index.ownKeys >= blobs + versions.length && index.peersInSync === peers,
  )
}

function heldDigests({ root, manifest, config, layers }: Version['image']): string[] {
  return [root, manifest, config, ...layers].map(({ descriptor }) => descriptor.digest)
}

async function statusOf(daemon: NaboProcess): Promise<z.infer<typeof statusSchema>> {
  const { body } = await daemon.adminGet('/api/v1/status')
  return statusSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')))
}

function transfersOf(site: Site, daemons: ReadonlyMap<ClusterNode, NaboProcess>, began: Date): Transfer[] {
  const names = new Map(site.nodes.map((node) => [node.ip, node.name]))
  return [...daemons].flatMap(([node, daemon]) => {
    return daemon.requests().flatMap((line) => transfersIn(line, node.name, names, began))
  })
}

/** A node's answers to its own containerd, by source. How the time is divided between several sources is not known. */
function transfersIn(line: RequestLine, node: string, names: ReadonlyMap<string, string>, began: Date): Transfer[] {
  const { digest } = line
  const ended = (Date.parse(line.time) - began.getTime()) / 1000
  if (line.listener !== 'mirror' || line.kind !== 'blob' || digest === undefined || ended < 0) return []
  const seconds = line.durationMs / 1000
  const whole = line.source && { source: line.source, peer: line.peer, bytes: line.bytes }
  const shares = line.shares ?? (whole ? [whole] : [])
  return shares
    .filter(({ bytes }) => bytes > 0)
    .map(({ source, peer, bytes }) => {
      const from = peer === undefined ? {} : { from: names.get(peer.slice(0, peer.lastIndexOf(':'))) ?? peer }
      return { at: Math.max(0, ended - seconds), seconds, node, digest, source, bytes, ...from }
    })
}

function logOf(daemons: ReadonlyMap<ClusterNode, NaboProcess>): string[] {
  return [...daemons].flatMap(([node, { logs }]) => logs.slice(-50).map((line) => `${node.name}: ${line}`))
}
