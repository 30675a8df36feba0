import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { digestOf } from '../../../src/oci/digest.ts'
import type { IndexKey } from '../../../src/overlay/overlay.ts'
import { keyOfDigest } from '../../../src/providers/index-key.ts'
import type { IndexOptions } from '../../../src/providers/index-options.ts'
import { type BenchNode, createNode } from './node.ts'

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    nodes: { type: 'string' },
    digests: { type: 'string' },
    lookups: { type: 'string' },
  },
})
const { quick } = args
const sizes = (args.nodes ?? (quick ? '3,5' : '3,10,30')).split(',').map(Number)
const digests = Number(args.digests ?? (quick ? 500 : 5000))
const lookups = Number(args.lookups ?? (quick ? 200 : 2000))
const signal = new AbortController().signal

interface Figures {
  readonly nodes: number
  readonly kept: string
  readonly 'hit p50 ms': string
  readonly 'hit p99 ms': string
  readonly 'miss p50 ms': string
  readonly 'miss p99 ms': string
  readonly 'lookup CPU ms': string
  readonly 'announce ms': string
  readonly 'CPU a digest ms': string
  /** Requests between nodes: to announce all digests, and for one lookup (hit / miss). */
  readonly requests: string
  readonly 'idle CPU ms/s': string
}

function keyNamed(name: string): IndexKey {
  return keyOfDigest(digestOf(createHash('sha256').update(name).digest()))
}

async function until(condition: () => boolean, what: string | (() => string)): Promise<void> {
  const deadline = performance.now() + 120_000
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error(`gave up waiting until ${typeof what === 'string' ? what : what()}`)
    await sleep(2)
  }
}

/** User and system time of the whole process, all nodes together, in milliseconds. */
function cpuNow(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function requestsOf(nodes: readonly BenchNode[]): number {
  return nodes.reduce((sum, node) => sum + node.received(), 0)
}

function isSettled(nodes: readonly BenchNode[]): boolean {
  return nodes.every(({ index }) => {
    const { members, peersFed, peersInSync, membersHeard, scope } = index.stats()
    return members === nodes.length - 1 && peersFed === peersInSync && (scope === 'placed' || membersHeard === members)
  })
}

/** The claims that must be known elsewhere before `count` more keys are everywhere where they belong. */
function claimsWanted(nodes: readonly BenchNode[], count: number): number | undefined {
  return nodes[0]?.index.stats().scope === 'all' ? count * (nodes.length - 1) : undefined
}

async function announce(nodes: readonly BenchNode[], keys: readonly IndexKey[]) {
  const [announcer, ...others] = nodes
  assert.ok(announcer)
  const started = performance.now()
  const cpu = cpuNow()
  const before = requestsOf(nodes)
  announcer.index.announce(keys)
  const wanted = claimsWanted(nodes, keys.length)
  const claims = () => others.reduce((sum, { index }) => sum + index.stats().claims, 0)
  // Where each key is placed its copies on the announcer itself are no claims: wait until the number stands still.
  if (wanted !== undefined) await until(() => claims() === wanted, 'all claims are everywhere')
  else {
    await until(() => claims() >= 2 * keys.length && isSettled(nodes), 'all claims are placed')
    assert.ok(claims() <= 3 * keys.length, 'no more copies than told')
  }
  return { wall: performance.now() - started, cpu: cpuNow() - cpu, requests: requestsOf(nodes) - before }
}

async function lookUp(nodes: readonly BenchNode[], keys: readonly IndexKey[], holder: string | undefined) {
  const times: number[] = []
  const cpu = cpuNow()
  const before = requestsOf(nodes)
  for (let n = 0; n < lookups; n++) {
    const asker = nodes[1 + (n % (nodes.length - 1))]
    const key = keys[(n * 7) % keys.length]
    assert.ok(asker !== undefined && key !== undefined)
    const started = performance.now()
    const found = await asker.index.find(key, { signal })
    times.push(performance.now() - started)
    assert.deepEqual(
      found.map((peer) => peer.id),
      holder === undefined ? [] : [holder],
      `lookup ${n}`,
    )
  }
  times.sort((a, b) => a - b)
  const at = (share: number): string => (times[Math.floor(times.length * share)] ?? Number.NaN).toFixed(3)
  const requests = (requestsOf(nodes) - before) / lookups
  return { p50: at(0.5), p99: at(0.99), cpu: (cpuNow() - cpu) / lookups, requests }
}

async function idle(): Promise<number> {
  const seconds = quick ? 1 : 5
  const before = cpuNow()
  await sleep(seconds * 1_000)
  return (cpuNow() - before) / seconds
}

async function measure(count: number, kept: string, options: Partial<IndexOptions>): Promise<Figures> {
  const nodes: BenchNode[] = []
  try {
    for (let n = 0; n < count; n++) nodes.push(await createNode(nodes[0], options))
    await until(
      () => isSettled(nodes),
      () => `all nodes know each other: ${JSON.stringify(nodes.map(({ index }) => index.stats()))}`,
    )
    await announce(nodes, [keyNamed('warm up')].concat(Array.from({ length: 200 }, (_, n) => keyNamed(`warm ${n}`))))
    nodes[0]?.index.withdraw([keyNamed('warm up'), ...Array.from({ length: 200 }, (_, n) => keyNamed(`warm ${n}`))])
    await until(() => nodes.every(({ index }) => index.stats().claims === 0), 'the warm-up is withdrawn')
    const idleCpu = await idle()
    const keys = Array.from({ length: digests }, (_, n) => keyNamed(`layer ${n}`))
    const announced = await announce(nodes, keys)
    const missing = Array.from({ length: 500 }, (_, n) => keyNamed(`missing ${n}`))
    const hit = await lookUp(nodes, keys, nodes[0]?.overlay.self.id)
    const miss = await lookUp(nodes, missing, undefined)
    return {
      nodes: count,
      kept,
      'hit p50 ms': hit.p50,
      'hit p99 ms': hit.p99,
      'miss p50 ms': miss.p50,
      'miss p99 ms': miss.p99,
      'lookup CPU ms': `${hit.cpu.toFixed(3)} / ${miss.cpu.toFixed(3)}`,
      'announce ms': announced.wall.toFixed(0),
      requests: `${announced.requests}, ${hit.requests.toFixed(2)} / ${miss.requests.toFixed(2)}`,
      // What the overlay burns meanwhile is not the announcement's.
      'CPU a digest ms': ((announced.cpu - (idleCpu * announced.wall) / 1_000) / keys.length).toFixed(4),
      'idle CPU ms/s': idleCpu.toFixed(1),
    }
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
  }
}

const figures: Figures[] = []
for (const count of sizes) {
  console.error(`${count} nodes`)
  figures.push(await measure(count, 'by all', {}))
  if (count > 3) figures.push(await measure(count, 'by 3', { replicateAll: 1 }))
}
console.table(figures)
