import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { errorText } from '../../../src/telemetry/log.ts'
import type { Child } from '../../../test/support/child.ts'
import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import { eventually } from '../../../test/support/poll.ts'
import type { Version } from '../images.ts'
import { descendantsOf } from '../measure/process-tree.ts'
import type { Transfer } from '../results.ts'
import {
  type Contender,
  type Mirror,
  MirrorFailure,
  type MirrorProcess,
  type Settling,
  type Site,
} from './contender.ts'
import { type MirrorDescription, type Placeholders, commandWords, fill } from './description.ts'

/** Of what it wrote before it ended, in the sentence about that. */
const LAST_LINES = 3
const LAST_CHARS = 1000
/** An end may be known before the last words are read. */
const LAST_WORDS_MS = 100

/** What is known of a mirror beyond its description. */
export interface Insight {
  /** Reads from its log who got what from whom since then. */
  readonly transfers?: (log: readonly string[], began: Date, site: Site) => readonly Transfer[]
  /** Waits until it can give all of these to everybody. A pause if absent. */
  readonly settle?: (versions: readonly Version[], site: Site, options?: Settling) => Promise<void>
}

/** A contender that is known by its description alone. */
export function described(description: MirrorDescription, insight: Insight = {}): Contender {
  const { id, title, version, cri } = description
  return {
    id,
    title,
    cri,
    ...(version === undefined ? {} : { version }),
    ...(description.description === undefined ? {} : { description: description.description }),
    start: (site) => startAll(description, site, insight),
  }
}

async function startAll(description: MirrorDescription, site: Site, insight: Insight): Promise<Mirror> {
  const { place, mirrorUrl } = description
  // What a mirror knows cannot be asked in general.
  const pause = (options: Settling = {}) => sleep(description.settleSeconds * 1000, undefined, options)
  const places = place === 'one-host' ? [site.host] : site.nodes
  const running = await Promise.all(
    places.map(async (node, number) => ({ node, ...(await startOne(description, site, node, number)) })),
  )
  const processes = running.map(({ node, child }) => processOf(node, child))
  try {
    await Promise.all(running.map(({ node, child, values }) => ready(description, node, child, values)))
    // One that answers may not have found the others yet.
    await pause()
    await Promise.all(running.map(({ node, child }) => assertRuns(node, child)))
  } catch (cause) {
    const log = processes.flatMap((process) =>
      process
        .log()
        .slice(-50)
        .map((line) => `${process.node}: ${line}`),
    )
    throw new MirrorFailure(`${description.title} did not become ready: ${errorText(cause)}`, log, { cause })
  }
  return {
    processes,
    urlFor: (node) => {
      const server = running.find((one) => one.node === node) ?? running[0]
      return server && fill(mirrorUrl, server.values)
    },
    settle: async (_holders, versions, options) => {
      if (insight.settle !== undefined) return insight.settle(versions, site, options)
      await pause(options)
    },
    transfers: (began) =>
      insight.transfers?.(
        processes.flatMap((process) => process.log()),
        began,
        site,
      ),
  }
}

async function startOne(
  description: MirrorDescription,
  site: Site,
  node: ClusterNode,
  number: number,
): Promise<{ child: Child; values: Placeholders }> {
  const directory = directoryOf(node)
  await mkdir(directory, { recursive: true })
  const values = placeholders(description, site, node, number, directory)
  for (const [name, lines] of Object.entries(description.files)) {
    await writeFile(join(directory, name), `${lines.map((line) => fill(line, values)).join('\n')}\n`)
  }
  const [command = '', ...args] = commandWords(description.command, values, othersOf(description, site, node))
  const filled = Object.entries(description.env).map(([name, value]) => [name, fill(value, values)])
  const env = { ...process.env, ...Object.fromEntries(filled) }
  return { child: node.spawn(command, args, { env, cwd: directory }), values }
}

/** What is its own of a mirror on this node: `{directory}`. */
export function directoryOf(node: ClusterNode): string {
  return join(node.directory, 'mirror')
}

function othersOf({ place }: MirrorDescription, { nodes }: Site, node: ClusterNode): readonly ClusterNode[] {
  return place === 'one-host' ? nodes : nodes.filter((other) => other !== node)
}

function placeholders(
  description: MirrorDescription,
  site: Site,
  node: ClusterNode,
  number: number,
  directory: string,
): Placeholders {
  const { cluster, nodes, host } = site
  const { peers } = description
  const runtime =
    node === host
      ? {}
      : {
          containerdSocket: node.containerd.socket,
          contentPath: node.containerd.contentPath,
          certsDir: join(node.directory, 'certs-cri.d'),
        }
  return {
    name: node.name,
    number: String(number),
    ip: node.ip,
    firstIp: nodes[0]?.ip ?? '',
    directory,
    registryUrl: cluster.hubUrl,
    secretFile: cluster.secretFile,
    peers: othersOf(description, site, node)
      .map(({ name, ip }) => fill(peers.each, { name, ip }))
      .join(peers.separator),
    ...runtime,
  }
}

async function ready(
  { readyUrl, readySeconds, title }: MirrorDescription,
  node: ClusterNode,
  child: Child,
  values: Placeholders,
): Promise<void> {
  const url = fill(readyUrl, values)
  const answers = async () => child.exit !== undefined || (await node.fetch(url)).status === 200
  await eventually(`${title} answers on ${node.name}`, answers, { timeoutMs: readySeconds * 1000, everyMs: 100 })
  await assertRuns(node, child)
}

async function assertRuns(node: ClusterNode, child: Child): Promise<void> {
  if (child.exit === undefined) return
  await sleep(LAST_WORDS_MS)
  throw new Error(`it ended on ${node.name} (${endOf(child)})`)
}

/** How it ended, with its last words; undefined while it runs. */
function endOf({ exit, lines }: Child): string | undefined {
  if (exit === undefined) return undefined
  const { code, signal } = exit
  const how = signal ?? (code === null ? 'could not be started' : `exit code ${code}`)
  const last = lines.filter((line) => line.trim() !== '').slice(-LAST_LINES)
  return last.length === 0 ? how : `${how}: ${last.join(' / ').slice(-LAST_CHARS)}`
}

function processOf(node: ClusterNode, child: Child): MirrorProcess {
  return {
    node: node.name,
    pid: child.pid ?? 0,
    ended: () => endOf(child),
    log: () => child.lines,
    kill: () => killWhole(child),
  }
}

/** What stands behind a shell would go on without it. */
async function killWhole(child: Child): Promise<void> {
  const behind = child.pid === undefined ? [] : descendantsOf(child.pid)
  await child.kill()
  for (const pid of behind) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended with the one before it.
    }
  }
}
