import assert from 'node:assert/strict'

import { peerIdFromString } from '@libp2p/peer-id'
import { z } from 'zod'

import type { Digest } from '../../src/oci/digest.ts'
import type { Descriptor } from '../../src/oci/manifest.ts'
import { closestTo, kadIdOf } from '../../src/overlay/distance.ts'
import { keyOfDigest } from '../../src/providers/index-key.ts'
import type { Child } from '../support/child.ts'
import type { HubTransfer } from '../support/hub/ledger.ts'
import type { Image } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { eventually } from '../support/poll.ts'
import { type Fleet, sentBytes } from './fleet.ts'
import { ArrivalWatch } from './rollout-watch.ts'

export interface RolloutOptions {
  /** The nodes that pull; all if absent. */
  readonly numbers?: readonly number[]
  /** false: the content alone, no snapshots. */
  readonly unpack?: boolean
  readonly timeoutMs?: number
}

export interface NodeReport {
  readonly number: number
  readonly code: number | null
  readonly output: string
  readonly seconds: number
  /** The longest time that one of its blobs waited for its next byte since containerd asked for it. */
  readonly longestGapSeconds: number
  /** Bytes that its Nabo gave to its containerd, by where they came from. */
  readonly sources: Readonly<Record<string, number>>
  /** What went out on its link meanwhile. */
  readonly sent: number
}

/**
 * A blob that waits this long for a byte counts as stalled. Nabo replaces a dead or frozen source within about 6 s. Without that a blob waits for
 * minutes, until TCP or the client gives up. The limit lies between the two, because a busy machine makes everything several times slower.
 */
const STALL_SECONDS = 40

/** What a rollout cost, as the hub saw it. */
export interface HubReport {
  /** Blob bytes by node, without what the containerd of a node whose Nabo is dead fetched by itself. */
  readonly bytesByNode: ReadonlyMap<number, number>
  readonly bytes: number
  readonly manifestGets: number
  /** For the tag alone, and for whatever. */
  readonly tagHeads: number
  readonly manifestHeads: number
  /** The most nodes that fetched one blob at the same time. */
  readonly mostFetchers: number
}

interface Pull {
  readonly number: number
  readonly child: Child
  readonly watch: ArrivalWatch
  readonly sentBefore: number
  readonly ended: Promise<number>
}

const swarmSchema = z.object({
  self: z.object({ id: z.string() }),
  swarm: z.object({ items: z.number(), members: z.number(), leases: z.number() }).optional(),
})

/** One image that many nodes pull at the same time, with a count of what that takes. */
export class Rollout {
  readonly image: Image
  readonly #fleet: Fleet
  readonly #pulls: readonly Pull[]
  readonly #dead = new Set<number>()

  private constructor(fleet: Fleet, image: Image, pulls: readonly Pull[]) {
    this.#fleet = fleet
    this.image = image
    this.#pulls = pulls
  }

  /** Publishes the image as `name:1`, sets the hub's counters back and lets all nodes pull at once. */
  static async begin(fleet: Fleet, name: string, image: Image, options: RolloutOptions = {}): Promise<Rollout> {
    const { numbers = fleet.nabos.keys().toArray(), timeoutMs = 120_000, ...pullOptions } = options
    await fleet.cluster.hub.publish(name, '1', image)
    await fleet.cluster.hub.reset()
    const sent = await Promise.all(numbers.map((number) => sentBytes(fleet.node(number))))
    const begin = async (number: number, i: number): Promise<Pull> => {
      const start = performance.now()
      const child = await fleet.node(number).beginPull(`docker.io/library/${name}:1`, pullOptions)
      const watch = new ArrivalWatch(fleet.node(number).containerd.contentPath, blobsOf(image))
      const timer = setTimeout(() => child.signal('SIGKILL'), timeoutMs)
      const ended = child.exited.then(() => {
        clearTimeout(timer)
        watch.stop()
        return (performance.now() - start) / 1000
      })
      return { number, child, watch, sentBefore: sent[i] ?? 0, ended }
    }
    return new Rollout(fleet, image, await Promise.all(numbers.map(begin)))
  }

  /** The image's blobs in bytes, those of this platform. */
  get bytes(): number {
    return blobsOf(this.image).reduce((sum, { size }) => sum + size, 0)
  }

  /** The layer that takes longest. */
  get largest(): Descriptor {
    const [largest] = this.image.layers.map(({ descriptor }) => descriptor).sort((a, b) => b.size - a.size)
    assert.ok(largest)
    return largest
  }

  /** Waits until the hub has sent this part of the largest layer, and gives the node that it sends it to. */
  async leader(part: number): Promise<number> {
    const { digest, size } = this.largest
    const found = await eventually(
      'the largest layer flows',
      async () => {
        const transfers = (await this.#fleet.cluster.hub.transfers()).filter((item) => item.digest === digest)
        const sent = Math.max(0, ...transfers.map(({ start, bytes }) => start + bytes))
        const running = transfers.findLast(({ ended }) => ended === undefined)
        return sent >= part * size && running
      },
      { timeoutMs: 60_000, everyMs: 100 },
    )
    return this.#numberOf(found.client)
  }

  /** The nodes that have sent most to others so far, the busiest first, `except` left out. */
  async relays(except: number): Promise<number[]> {
    const sent = await Promise.all(
      this.#pulls.map(async ({ number, sentBefore }) => {
        return { number, bytes: (await sentBytes(this.#fleet.node(number))) - sentBefore }
      }),
    )
    const others = sent.filter(({ number }) => number !== except)
    return others.sort((a, b) => b.bytes - a.bytes).map(({ number }) => number)
  }

  /** The nodes that coordinate a digest, the first in charge first. */
  async coordinators(digest: Digest, count: number): Promise<number[]> {
    const candidates = await Promise.all(
      this.#fleet.nabos.map(async (nabo, number) => {
        const { id } = (await selfOf(nabo)).self
        return { number, kadId: kadIdOf(peerIdFromString(id).toMultihash().bytes) }
      }),
    )
    const target = kadIdOf(Buffer.from(keyOfDigest(digest), 'hex'))
    return closestTo(target, candidates, count).map(({ number }) => number)
  }

  /** Kills these nodes' Nabos at the same time. */
  async kill(...numbers: readonly number[]): Promise<void> {
    for (const number of numbers) this.#dead.add(number)
    await Promise.all(numbers.map((number) => this.#fleet.nabo(number).kill()))
  }

  /** Deletes the pod: its pull ends in the middle. */
  async cancel(number: number): Promise<void> {
    await this.#pulls.find((pull) => pull.number === number)?.child.kill()
  }

  /** Waits for the pulls of all nodes but these. */
  async ended(...except: readonly number[]): Promise<NodeReport[]> {
    const pulls = this.#pulls.filter(({ number }) => !except.includes(number))
    return Promise.all(pulls.map((pull) => this.#report(pull)))
  }

  /** Asserts that these pulls ended well with the right bytes, and that no blob of a living Nabo stood still: see {@link STALL_SECONDS}. */
  async assertGood(reports: readonly NodeReport[], longestGapSeconds = STALL_SECONDS): Promise<void> {
    for (const { number, code, output, longestGapSeconds: gap } of reports) {
      const log = this.#fleet.nabo(number).logs.slice(-30).join('\n')
      assert.equal(code, 0, `node ${number}: ${output}\n${log}`)
      for (const { digest } of blobsOf(this.image)) {
        assert.equal(await this.#fleet.node(number).blobSha256(digest), digest)
      }
      assert.ok(
        this.#dead.has(number) || gap <= longestGapSeconds,
        `a blob of node ${number} waited ${gap} s for a byte\n${log}`,
      )
    }
  }

  async hub(): Promise<HubReport> {
    const { hub } = this.#fleet.cluster
    const [counters, requests, all] = await Promise.all([hub.counters(), hub.requests(), hub.transfers()])
    const transfers = all.filter((transfer) => !this.#isOfTheBereaved(transfer))
    const bytesByNode = new Map<number, number>()
    for (const { client, bytes } of transfers) {
      const number = this.#numberOf(client)
      bytesByNode.set(number, (bytesByNode.get(number) ?? 0) + bytes)
    }
    return {
      bytesByNode,
      bytes: transfers.reduce((sum, { bytes }) => sum + bytes, 0),
      manifestGets: counters.manifestGets,
      tagHeads: requests.filter(({ method, path, status }) => {
        return method === 'HEAD' && status !== 401 && path.endsWith('/manifests/1')
      }).length,
      manifestHeads: requests.filter(({ method, path, status }) => {
        return method === 'HEAD' && status !== 401 && path.includes('/manifests/')
      }).length,
      mostFetchers: Math.max(0, ...blobsOf(this.image).map(({ digest }) => mostAtOnce(transfers, digest))),
    }
  }

  /** In lines for people: what each node did, and the hub. */
  async describe(reports: readonly NodeReport[]): Promise<string> {
    const { bytesByNode, ...hub } = await this.hub()
    const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
    const nodes = reports.map(({ number, code, seconds, longestGapSeconds, sources, sent }) => {
      const parts = Object.entries(sources).map(([source, bytes]) => `${source} ${mb(bytes)}`)
      const fetched = mb(bytesByNode.get(number) ?? 0)
      const gap = longestGapSeconds.toFixed(1)
      return `node ${number}: code ${code}, ${seconds.toFixed(1)} s, gap ${gap} s; ${parts.join(', ')}; sent ${mb(sent)}; from the hub ${fetched}`
    })
    const ratio = (hub.bytes / this.bytes).toFixed(3)
    const manifests = `${hub.manifestGets} manifest GETs, ${hub.tagHeads} tag HEADs of ${hub.manifestHeads}`
    return [
      ...nodes,
      `hub: ${ratio} × ${mb(this.bytes)}, ${manifests}, at most ${hub.mostFetchers} fetch a blob at once`,
    ].join('\n')
  }

  async #report({ number, child, watch, sentBefore, ended }: Pull): Promise<NodeReport> {
    const seconds = await ended
    const { code = null } = child.exit ?? {}
    const sources: Record<string, number> = {}
    for (const { digest } of blobsOf(this.image)) {
      for (const line of this.#fleet.answers(number, digest)) {
        const shares = line.shares ?? [{ source: line.source ?? `${line.status}`, bytes: line.bytes }]
        for (const { source, bytes } of shares) sources[source] = (sources[source] ?? 0) + bytes
      }
    }
    const sent = (await sentBytes(this.#fleet.node(number))) - sentBefore
    const longestGapSeconds = watch.longestGapMs / 1000
    return { number, code, output: child.lines.slice(-3).join('\n'), seconds, longestGapSeconds, sources, sent }
  }

  /** Where a Nabo was killed its containerd goes on alone: what it does is no longer Nabo's doing. */
  #isOfTheBereaved({ client, userAgent }: HubTransfer): boolean {
    return this.#dead.has(this.#numberOf(client)) && userAgent?.startsWith('containerd') === true
  }

  #numberOf(address: string): number {
    return this.#fleet.cluster.nodes.findIndex(({ ip }) => ip === address)
  }
}

/** What a daemon says of itself: its id, and what is in its swarm tables. */
export async function selfOf(nabo: NaboProcess): Promise<z.infer<typeof swarmSchema>> {
  return swarmSchema.parse(JSON.parse(Buffer.from((await nabo.adminGet('/api/v1/status')).body).toString('utf8')))
}

/** Waits until nothing is left in the swarm tables of these daemons. */
export async function assertForgotten(nabos: readonly NaboProcess[]): Promise<void> {
  await eventually(
    'the swarm tables are empty',
    async () => {
      const tables = await Promise.all(nabos.map(async (nabo) => (await selfOf(nabo)).swarm))
      for (const table of tables) assert.deepEqual(table, { ...table, items: 0, members: 0, leases: 0 })
      return true
    },
    { timeoutMs: 60_000, everyMs: 500 },
  )
}

/** Config and layers of this platform. */
function blobsOf(image: Image): readonly Descriptor[] {
  return [image.config, ...image.layers].map(({ descriptor }) => descriptor)
}

/** How many clients fetched a blob at the same time, at the most. */
function mostAtOnce(transfers: readonly HubTransfer[], digest: string): number {
  const ofBlob = transfers.filter((transfer) => transfer.digest === digest)
  const counts = ofBlob.map(({ began }) => {
    const running = ofBlob.filter((other) => other.began <= began && (other.ended ?? Infinity) > began)
    return new Set(running.map(({ client }) => client)).size
  })
  return Math.max(0, ...counts)
}
