import { setTimeout as sleep } from 'node:timers/promises'

import { errorText } from '../../../src/telemetry/log.ts'
import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import type { HubTransfer } from '../../../test/support/hub/ledger.ts'
import { type Contender, type Mirror, MirrorFailure, type Site } from '../contenders/contender.ts'
import type { Version } from '../images.ts'
import { arrivedBytes } from '../measure/content.ts'
import { type LinkBytes, insideBytes, readLinks, sentBytes } from '../measure/links.ts'
import { allTransfers } from '../measure/transfers.ts'
import { UsageWatch } from '../measure/usage.ts'
import { type Image, type Pull, type Run, type RunNode, type Transfer, logTail } from '../results.ts'
import { ActClock, type Moment } from './act-clock.ts'
import { judge } from './judge.ts'
import { logsOf } from './logs.ts'
import { busiest, possibleVictims } from './victim.ts'

export interface StageOptions {
  readonly scenario: string
  readonly contender: Contender
  readonly repeat: number
  readonly unpack: boolean
  readonly pullTimeoutMs: number
}

/** What is about to be measured. */
export interface Act {
  readonly variant: string
  readonly versions: readonly Version[]
  /** Nodes that have it already. */
  readonly seeds?: readonly number[]
  /** The nodes had the version before. */
  readonly isUpdate?: boolean
  /** Breaks something when all counters have been set back. */
  readonly prepare?: () => Promise<void>
  /** The registry refuses on purpose: a pull that fails needs no explanation. */
  readonly registryFails?: boolean
}

interface Holding {
  readonly node: ClusterNode
  readonly version: Version
}

interface Pulled extends Holding {
  readonly pull: Pull
  readonly ended: Moment
}

const WATCH_EVERY_MS = 20
/** For what mirrors still do when the last pull has ended. Their counters go on meanwhile, as long as it takes, but not without end. */
const AFTERWARDS_MS = 15_000

/** Nodes with one contender on them, on which scenarios are played and measured. */
export class Stage {
  readonly site: Site
  readonly runs: Run[] = []
  readonly #mirror: Mirror
  readonly #options: StageOptions
  readonly #killed = new Set<string>()
  readonly #seeded: Holding[] = []
  #pulls: Pulled[] = []
  #clock = new ActClock()
  /** At the start of an act: what was sent before, for seeding, is none of it. */
  #links: LinkBytes | undefined
  #kill: Run['killed']

  constructor(site: Site, mirror: Mirror, options: StageOptions) {
    this.site = site
    this.#mirror = mirror
    this.#options = options
  }

  /** The numbers of all nodes but the first `from`. */
  numbers(from = 0): number[] {
    return this.site.nodes.keys().toArray().slice(from)
  }

  /** Pulls on these nodes, one after the other, without measuring it. Throws if one fails. */
  async seed(numbers: readonly number[], version: Version): Promise<void> {
    for (const number of numbers) {
      const node = this.#node(number)
      const { ok, error } = await this.#pullOn(node, version)
      if (!ok) throw new MirrorFailure(`node-${number} could not get what it should have: ${error}`, this.#log())
      await recordAsKubelet({ node, version })
      this.#seeded.push({ node, version })
    }
  }

  /** Waits until what these nodes have can be found. Does not count as time of a run. */
  async settle(numbers: readonly number[], versions: readonly Version[]): Promise<void> {
    const began = this.#clock.now()
    const holders = numbers.map((number) => this.#node(number))
    await this.#mirror.settle(holders, versions).catch((cause: unknown) => {
      throw new MirrorFailure(`what nodes have did not become known: ${errorText(cause)}`, this.#log(), { cause })
    })
    this.#clock.pausedSince(began)
  }

  /** Pulls on one node. A pull that fails is a result as well. */
  async pull(number: number, version: Version): Promise<void> {
    await this.pullAll([number], version)
  }

  /** Pulls on these nodes at the same time. */
  async pullAll(numbers: readonly number[], version: Version): Promise<void> {
    await Promise.all(
      numbers.map(async (number) => {
        const node = this.#node(number)
        const at = this.#clock.seconds()
        const result = await this.#pullOn(node, version)
        this.#pulls.push({ node, version, ended: this.#clock.now(), pull: { image: version.name, at, ...result } })
        if (result.ok) await recordAsKubelet({ node, version })
      }),
    )
    const last = this.#pulls.at(-1)
    if (last !== undefined) this.#clock.pausedSince(last.ended)
  }

  /**
   * Kills a mirror process as soon as this part of an image has arrived on these nodes: that of the seed which has sent most since the act
   * began, or the one cache that all share. There may be none.
   */
  async killMidway(
    seeds: readonly number[],
    pullers: readonly number[],
    version: Version,
    part: number,
  ): Promise<void> {
    const { nodes, host } = this.site
    const names = seeds.map((number) => this.#node(number).name)
    const allNames = nodes.map(({ name }) => name)
    const candidates = () => possibleVictims(this.#mirror.processes, names, allNames)
    if (candidates().length === 0) return
    const receivers = pullers.map((number) => this.#node(number))
    const wanted = part * pullers.length * version.bytes
    const isOver = () => this.#pulls.length === pullers.length
    while (!isOver()) {
      const arrived = await Promise.all(receivers.map(arrivedBytes))
      if (arrived.reduce((sum, bytes) => sum + bytes, 0) >= wanted) break
      await sleep(WATCH_EVERY_MS)
    }
    const victims = candidates().map(async (process) => {
      const place = [...nodes, host].find(({ name }) => name === process.node)
      const before = this.#links?.sent.get(process.node) ?? 0
      return { process, sentBytes: place === undefined ? 0 : Math.max(0, (await sentBytes(place)) - before) }
    })
    const victim = busiest(await Promise.all(victims))
    if (victim === undefined) return
    const { node } = victim.process
    this.#killed.add(node)
    this.#kill = { node, at: this.#clock.seconds(), sentBytes: victim.sentBytes }
    await victim.process.kill()
  }

  /** Plays and measures. What was pulled is checked afterwards, outside of the time. */
  async measure(act: Act, play: () => Promise<void>): Promise<void> {
    const { hub } = this.site.cluster
    await hub.reset()
    await act.prepare?.()
    this.#pulls = []
    this.#kill = undefined
    const before = await readLinks(this.site)
    this.#links = before
    const usage = new UsageWatch(this.#mirror.processes)
    const began = new Date()
    this.#clock = new ActClock()
    let mirrors: Run['mirrors']
    try {
      await play()
      await this.#settleAfterwards()
    } finally {
      mirrors = usage.stop()
    }
    const peerBytes = Math.max(0, insideBytes(await readLinks(this.site)) - insideBytes(before))
    const [counters, requests, fetched] = await Promise.all([hub.counters(), hub.requests(), hub.transfers()])
    const manifestGets = requests.filter(
      ({ origin, method, path, status }) =>
        origin === 'registry' && method === 'GET' && path.includes('/manifests/') && status !== 401,
    ).length
    this.runs.push({
      ...this.#named(act),
      nodes: this.#nodes(act),
      ...this.#clock.until(this.#pulls.at(-1)?.ended ?? this.#clock.now()),
      ...(this.#kill === undefined ? {} : { killed: this.#kill }),
      upstream: { bytes: counters.blobBytes, countedPulls: counters.manifestGets, manifestGets },
      peerBytes,
      mirrors,
      transfers: this.#transfers(began, fetched),
      ...(await this.#judged(act)),
    })
  }

  /** A cache may still fetch what it passed on already: that is part of what it costs, but no pull waits for it. */
  async #settleAfterwards(): Promise<void> {
    const { processes } = this.#mirror
    // What is dead never settles, and would be waited for in vain.
    if (processes.some(({ ended }) => ended() !== undefined)) return
    const got = this.#pulls.filter(({ pull }) => pull.ok)
    if (got.length === 0) return
    const versions = new Set(got.map(({ version }) => version))
    const holders = new Set(got.map(({ node }) => node))
    await this.#mirror
      .settle([...holders], [...versions], { signal: AbortSignal.timeout(AFTERWARDS_MS) })
      .catch(() => {})
  }

  #named({
    variant,
    versions,
    isUpdate = false,
  }: Act): Pick<Run, 'scenario' | 'variant' | 'contender' | 'repeat' | 'images'> {
    const { scenario, contender, repeat } = this.#options
    const images = versions.map(({ name, bytes, heldBytes, image }): Image => {
      return { name, bytes, layers: image.layers.length, ...(isUpdate ? { heldBytes } : {}) }
    })
    return { scenario, variant, contender: contender.id, repeat, images }
  }

  #nodes({ seeds = [] }: Act): RunNode[] {
    return this.site.nodes.map(({ name }, number) => {
      const role = this.#killed.has(name) ? 'killed' : seeds.includes(number) ? 'seed' : undefined
      const pulls = this.#pulls.filter(({ node }) => node.name === name).map(({ pull }) => pull)
      return { name, ...(role === undefined ? {} : { role }), pulls }
    })
  }

  /** Whether all that came is right, and whether the contender still stands. */
  async #judged({ registryFails = false }: Act): Promise<Pick<Run, 'contentOk' | 'failure' | 'log'>> {
    const got = this.#pulls.filter(({ pull }) => pull.ok)
    const ended = this.#mirror.processes.filter((one) => !this.#killed.has(one.node) && one.ended() !== undefined)
    const judged = await judge(got, this.#seeded, ended)
    const isUnexplained = got.length < this.#pulls.length && !registryFails
    const log = judged.failure !== undefined || isUnexplained ? logTail(this.#log().join('\n')) : ''
    return { ...judged, ...(log === '' ? {} : { log }) }
  }

  /** What the contender itself says, and what the registry saw beyond it. */
  #transfers(began: Date, fetched: readonly HubTransfer[]): Transfer[] {
    const own = this.#mirror.transfers(began) ?? []
    const places = [...this.site.nodes, this.site.host]
    const seen = fetched.map(({ client, began: from, ended, digest, bytes }): Transfer => {
      return {
        at: Math.max(0, (from - began.getTime()) / 1000),
        seconds: Math.max(0, ((ended ?? Date.now()) - from) / 1000),
        node: places.find(({ ip }) => ip === client)?.name ?? client,
        digest,
        source: 'upstream',
        bytes,
      }
    })
    return allTransfers(own, seen)
  }

  async #pullOn(node: ClusterNode, version: Version): Promise<Pick<Pull, 'seconds' | 'ok' | 'error'>> {
    const mirrorUrl = this.#mirror.urlFor(node)
    const { unpack, pullTimeoutMs: timeoutMs } = this.#options
    const how = mirrorUrl === undefined ? { withoutNabo: true } : { mirrorUrl }
    const { code, stderr, stdout, durationMs } = await node.pull(referenceOf(version), {
      ...how,
      unpack,
      timeoutMs,
    })
    const seconds = durationMs / 1000
    if (code === 0) return { seconds, ok: true }
    const error = (stderr.trim() || stdout.trim()).split('\n').at(-1) ?? ''
    return { seconds, ok: false, error: `exit ${code}: ${error}`.slice(0, 2000) }
  }

  #log(): string[] {
    return logsOf(this.#mirror.processes, this.#killed)
  }

  #node(number: number): ClusterNode {
    return this.site.cluster.node(number)
  }
}

/** Not in a pull's time: the kubelet does it, and so do all contenders' nodes. */
function recordAsKubelet({ node, version }: Holding): Promise<void> {
  return node.recordDigest(referenceOf(version), version.image.root.descriptor.digest)
}

function referenceOf({ name }: Version): string {
  return `docker.io/${name}`
}
