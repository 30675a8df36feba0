import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Image, makeImage } from '../support/image-maker.ts'
import type { NaboProcess } from '../support/nabo-process.ts'
import { eventually } from '../support/poll.ts'
import { Fleet } from './fleet.ts'
import { assertForgotten } from './rollout.ts'
import { descriptorsOf, growthOf, memoryOf, randomFrom, shuffled } from './soak-measures.ts'

export interface SoakOptions {
  readonly seconds: number
  /** Bytes by which the lowest memory of the surviving daemon may grow from the first half of the test to the second. */
  readonly memoryMargin: number
}

const NODES = 6
/** Those of a group are killed one after the other. One node's Nabo is never killed: its memory tells of leaks. */
const VICTIMS = [
  [0, 1, 2],
  [3, 4],
]
const SURVIVOR = 5
const IMAGES = 20
const LAYERS = 14
const SHARED_LAYERS_PER_IMAGE = 3
/** Images that a node keeps, at the most. */
const MOST_HELD = 4
/** Kept connections come and go. */
const DESCRIPTOR_MARGIN = 30

/** Pulls many images that share layers on all nodes in random order, while daemons are killed and started again, and looks for what stays. */
export async function soak(t: TestContext, options: SoakOptions): Promise<void> {
  const seed = Number(process.env['NABO_TEST_SEED'] ?? Math.floor(Math.random() * 1e9))
  t.diagnostic(`NABO_TEST_SEED=${seed}`)
  const random = randomFrom(seed)
  const images = makeImages(random)
  await using fleet = await Fleet.start({
    nodes: NODES,
    rate: '400mbit',
    hub: { bytesPerSecond: 12_500_000 },
    flags: bootstrapOf,
  })
  for (const [i, image] of images.entries()) await fleet.cluster.hub.publish(`soak-${i}`, '1', image)
  const before = Math.max(...fleet.nabos.map(({ pid }) => descriptorsOf(pid).length))

  const run = new Soak(fleet, images, random, options.seconds)
  const { pulls, kills, memory } = await run.toItsEnd()
  const transfers = await fleet.cluster.hub.transfers()
  const sentTo = (agent: string) => mb(sum(transfers.filter(({ userAgent }) => userAgent?.startsWith(agent) === true)))
  const growth = growthOf(memory)
  t.diagnostic(
    `${pulls} pulls, ${kills} kills; the hub sent ${sentTo('nabo')} to Nabos, ${sentTo('containerd')} to containerds`,
  )
  t.diagnostic(`memory ${mb(memory[0] ?? 0)} at first, ${mb(memory.at(-1) ?? 0)} at last, grew by ${mb(growth)} lately`)

  const suspicions = [...fleet.nabos, ...run.killed].flatMap(({ logs }) =>
    logs.filter((line) => line.includes('suspect')),
  )
  t.diagnostic(`${suspicions.length} suspicions: ${suspicions.join(' ')}`)
  await fleet.together()
  await assertForgotten(fleet.nabos)
  for (const { pid } of fleet.nabos) await assertClosed(pid, before)
  assert.ok(growth <= options.memoryMargin, `the memory of a daemon grew by ${growth} bytes`)
}

class Soak {
  readonly #fleet: Fleet
  readonly #images: readonly Image[]
  readonly #random: () => number
  readonly #deadline: number
  #failed = false
  #pulls = 0

  /** The daemons that were killed. */
  readonly killed: NaboProcess[] = []

  constructor(fleet: Fleet, images: readonly Image[], random: () => number, seconds: number) {
    this.#fleet = fleet
    this.#images = images
    this.#random = random
    this.#deadline = performance.now() + seconds * 1000
  }

  /** Throws when a pull fails or a daemon does not come back. */
  async toItsEnd(): Promise<{ pulls: number; kills: number; memory: readonly number[] }> {
    const memory: number[] = []
    const all = [
      ...this.#fleet.nabos.map((_nabo, number) => this.#pullAtRandom(number)),
      ...VICTIMS.map((numbers) => this.#killAtRandom(numbers)),
      this.#watch(memory),
    ]
    for (const one of all) one.catch(() => (this.#failed = true))
    // Nothing may go on when the cluster is taken down.
    await Promise.allSettled(all)
    await Promise.all(all)
    return { pulls: this.#pulls, kills: this.killed.length, memory }
  }

  get #isOver(): boolean {
    return this.#failed || performance.now() > this.#deadline
  }

  async #pullAtRandom(number: number): Promise<void> {
    const node = this.#fleet.node(number)
    const held: string[] = []
    while (!this.#isOver) {
      const i = this.#below(this.#images.length)
      const reference = `docker.io/library/soak-${i}:1`
      const result = await node.pull(reference, { unpack: this.#random() < 0.3 })
      const log = () => this.#fleet.nabo(number).logs.slice(-30).join('\n')
      assert.equal(result.code, 0, `${reference} on node ${number}: ${result.stderr}\n${log()}`)
      for (const { descriptor } of this.#images[i]?.layers ?? []) {
        assert.equal(await node.blobSha256(descriptor.digest), descriptor.digest)
      }
      this.#pulls += 1
      if (!held.includes(reference)) held.push(reference)
      // What nobody holds any more comes from the hub again.
      const gone = held.length > MOST_HELD ? shuffled(held, this.#random).slice(0, 2) : []
      for (const other of gone) {
        const { code, stderr } = await node.remove(other)
        assert.equal(code, 0, stderr)
        held.splice(held.indexOf(other), 1)
      }
    }
  }

  async #killAtRandom(numbers: readonly number[]): Promise<void> {
    for (;;) {
      await sleep(1000 + this.#below(3000))
      if (this.#isOver) return
      const number = numbers[this.#below(numbers.length)] ?? 0
      const nabo = this.#fleet.nabo(number)
      await nabo.kill()
      this.killed.push(nabo)
      await sleep(this.#below(2000))
      await this.#fleet.restartNabo(number, bootstrapOf(this.#fleet.cluster)).ready()
    }
  }

  async #watch(memory: number[]): Promise<void> {
    for (; !this.#isOver; await sleep(500)) memory.push(memoryOf(this.#fleet.nabo(SURVIVOR).pid))
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }
}

/** Any member will do to find the others by: the first may be dead when somebody comes back. */
function bootstrapOf({ nodes }: Fleet['cluster']): string[] {
  return ['--bootstrap', `static:${nodes.map(({ ip }) => ip).join(',')}`]
}

function makeImages(random: () => number): Image[] {
  const pool = Array.from({ length: LAYERS }, (_, i) => ({
    size: 200_000 + Math.floor(random() * 3_000_000),
    seed: `shared ${i}`,
  }))
  return Array.from({ length: IMAGES }, (_, i) => {
    const shared = shuffled(pool, random).slice(0, SHARED_LAYERS_PER_IMAGE)
    return makeImage({ layers: [...shared, { size: 100_000, seed: `own ${i}` }], multiArch: i % 2 === 0 })
  })
}

/** Asserts that a process keeps no content open, and hardly more descriptors than `before` in all. */
async function assertClosed(pid: number, before: number): Promise<void> {
  await eventually('no descriptor is left open', () => {
    const open = descriptorsOf(pid)
    const content = open.filter((path) => path.includes('io.containerd.content.v1.content/'))
    assert.deepEqual(content, [])
    assert.ok(open.length <= before + DESCRIPTOR_MARGIN, `${open.length}, ${before} before: ${open.join(' ')}`)
    return true
  })
}

function sum(transfers: readonly { readonly bytes: number }[]): number {
  return transfers.reduce((total, { bytes }) => total + bytes, 0)
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
