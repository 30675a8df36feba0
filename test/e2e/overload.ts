import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Child } from '../support/child.ts'
import { CpuGroup } from '../support/cpu-group.ts'
import type { HubTransfer } from '../support/hub/ledger.ts'
import { type Image, makeImage } from '../support/image-maker.ts'
import type { Fleet } from './fleet.ts'

/** What a rollout of several images to all nodes at once cost. */
export interface OverloadReport {
  /** Blob bytes that the hub sent, over the bytes of the images: 1 if each blob came once. */
  readonly copies: number
  readonly seconds: number
  /** Transfers of the hub that were more than a part of what somebody had to fetch, in lines for people. */
  readonly transfers: readonly string[]
}

/** Of each image. */
const LAYERS = 1
const MB = 1e6
const PULL_TIMEOUT_MS = 240_000

/** The CPU time of all nodes of a fleet is limited, and other programs take their part of it. */
export class Squeeze implements AsyncDisposable {
  readonly #groups: CpuGroup[] = []
  readonly #others: Child[] = []

  /** Each node's Nabo, containerd and pulls share `cores` with so many programs that do nothing but calculate. To be called once. */
  begin(fleet: Fleet, { cores, programs }: { readonly cores: number; readonly programs: number }): void {
    for (const [number, nabo] of fleet.nabos.entries()) {
      const group = new CpuGroup(cores)
      this.#groups.push(group)
      group.add(nabo.pid)
      group.add(fleet.node(number).containerd.pid)
      for (let i = 0; i < programs; i++) {
        const other = fleet.node(number).spawn('sh', ['-c', 'while :; do :; done'])
        this.#others.push(other)
        if (other.pid !== undefined) group.add(other.pid)
      }
    }
  }

  add(number: number, child: Child): void {
    if (child.pid !== undefined) this.#groups[number]?.add(child.pid)
  }

  /** How often nodes had no CPU time for the rest of a period. */
  get throttled(): number {
    return this.#groups.reduce((sum, group) => sum + group.throttled, 0)
  }

  /** To be called after the fleet has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#others.map((other) => other.kill()))
    for (const group of this.#groups) await group[Symbol.asyncDispose]()
  }
}

/** Stops one Nabo after the other by SIGSTOP for 1 s to `longestMs`, until the signal fires; all run in the end. */
export async function pauseInTurn(
  fleet: Fleet,
  { longestMs, random, signal }: { longestMs: number; random: () => number; signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const nabo = fleet.nabo(Math.floor(random() * fleet.nabos.length))
    await sleep(200 + random() * 800, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    nabo.signal('SIGSTOP')
    await sleep(1000 + random() * (longestMs - 1000))
    nabo.signal('SIGCONT')
  }
}

/** All nodes pull so many new images at the same time. Asserts that each node gets all of them right. */
export async function rollOut(
  fleet: Fleet,
  name: string,
  options: {
    readonly images: number
    readonly megabytes: number
    readonly squeeze?: Squeeze
    /** What happens meanwhile, until the signal fires. */
    readonly during?: (signal: AbortSignal) => Promise<void>
  },
): Promise<OverloadReport> {
  const { images: count, megabytes, squeeze, during = async () => {} } = options
  const { hub } = fleet.cluster
  const names = Array.from({ length: count }, (_, i) => `${name}-${i}`)
  const images = names.map((name) => {
    return makeImage({
      layers: Array.from({ length: LAYERS }, (_, i) => ({ size: (megabytes * MB) / LAYERS, seed: `${name} ${i}` })),
    })
  })
  for (const [i, image] of images.entries()) await hub.publish(names[i] ?? '', '1', image)
  await hub.reset()
  const began = performance.now()
  const pulls: { number: number; child: Child }[] = []
  for (const name of names) {
    for (const number of fleet.nabos.keys()) {
      const child = await fleet.node(number).beginPull(referenceOf(name))
      squeeze?.add(number, child)
      pulls.push({ number, child })
    }
  }
  const ended = new AbortController()
  const [meanwhile] = [during(ended.signal)]
  const timer = setTimeout(() => pulls.forEach(({ child }) => child.signal('SIGKILL')), PULL_TIMEOUT_MS)
  await Promise.all(pulls.map(({ child }) => child.exited))
  clearTimeout(timer)
  const seconds = (performance.now() - began) / 1000
  ended.abort()
  await meanwhile
  for (const { number, child } of pulls) {
    assert.equal(
      child.exit?.code,
      0,
      `node ${number}: ${child.lines.slice(-3).join('\n')}\n${lastWords(fleet, number)}`,
    )
  }
  await assertRight(fleet, images)
  const transfers = await hub.transfers()
  await forget(fleet, names)
  const bytes = images.flatMap(blobsOf).reduce((sum, { size }) => sum + size, 0)
  const sent = transfers.reduce((sum, { bytes }) => sum + bytes, 0)
  return { copies: sent / bytes, seconds, transfers: extra(transfers).map(describeTransfer) }
}

/** The middle one, the greater of two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

function referenceOf(name: string): string {
  return `docker.io/library/${name}:1`
}

function blobsOf({ config, layers }: Image) {
  return [config, ...layers].map(({ descriptor }) => descriptor)
}

function lastWords(fleet: Fleet, number: number): string {
  return fleet.nabo(number).logs.slice(-20).join('\n')
}

async function assertRight(fleet: Fleet, images: readonly Image[]): Promise<void> {
  for (const number of fleet.nabos.keys()) {
    for (const { digest } of images.flatMap(blobsOf)) {
      assert.equal(await fleet.node(number).blobSha256(digest), digest)
    }
  }
}

/** Twenty rollouts would not fit on the disk, nor into the hub's memory. */
async function forget(fleet: Fleet, names: readonly string[]): Promise<void> {
  for (const name of names) {
    for (const number of fleet.nabos.keys()) await fleet.node(number).remove(referenceOf(name))
    await fleet.cluster.hub.remove(name)
  }
}

/** The transfers of blobs that were fetched by more than one request. */
function extra(transfers: readonly HubTransfer[]): readonly HubTransfer[] {
  return transfers.filter(({ digest }) => transfers.filter((other) => other.digest === digest).length > 1)
}

function describeTransfer({ digest, client, userAgent = '', start, bytes }: HubTransfer): string {
  const mb = (bytes: number) => (bytes / MB).toFixed(1)
  return `${digest.slice(7, 15)} to ${client} (${userAgent.slice(0, 16)}): ${mb(bytes)} MB from ${mb(start)} MB on`
}
