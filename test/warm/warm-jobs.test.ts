import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'

import { parseDigest } from '../../src/oci/digest.ts'
import type { Descriptor } from '../../src/oci/manifest.ts'
import { parseImageReference } from '../../src/oci/reference.ts'
import { PullError, type PullOrder, type PulledImage } from '../../src/store/image-puller.ts'
import type { WarmOrder } from '../../src/warm/messages.ts'
import { MirrorTraffic } from '../../src/warm/mirror-traffic.ts'
import { WarmJobs, type WarmJobsOptions } from '../../src/warm/warm-jobs.ts'
import { eventually } from '../support/poll.ts'

const digestOf = (n: number) => parseDigest(`sha256:${String(n).padStart(64, '0')}`) ?? assert.fail()
const orderFor = (image: string, extra: Partial<WarmOrder> = {}): WarmOrder => ({
  reference: parseImageReference(image) ?? assert.fail(image),
  ...extra,
})
const app = orderFor('docker.io/library/app:1')

/** A puller whose pulls end when the test says so. */
class FakePuller {
  readonly pulls: {
    readonly order: PullOrder
    readonly signal: AbortSignal
    done(image?: Partial<PulledImage>): void
    fail(error: Error): void
  }[] = []

  pull(order: PullOrder, { signal }: { signal: AbortSignal }): Promise<PulledImage> {
    const { promise, resolve, reject } = Promise.withResolvers<PulledImage>()
    this.pulls.push({ order, signal, fail: reject, done: (image) => resolve({ digest: undefined, ...image }) })
    return promise
  }
}

function start(options: Partial<WarmJobsOptions> = {}) {
  const puller = new FakePuller()
  const traffic = new MirrorTraffic()
  let now = 0
  const jobs = new WarmJobs({
    puller,
    traffic,
    zone: undefined,
    mirrors: () => true,
    contents: async () => undefined,
    arrived: async () => 0,
    log: { info: () => {} },
    now: () => now,
    ...options,
  })
  const wish = (order: WarmOrder, ticket: string, extra: { cancel?: boolean; zones?: string[] } = {}) =>
    jobs.handleWarm({ ticket, order, ...extra })
  const pull = async (n: number) => {
    await eventually(`pull ${n} begins`, () => puller.pulls.length > n)
    return puller.pulls[n] ?? assert.fail()
  }
  const becomes = (state: string, order: WarmOrder, ticket: string) =>
    eventually(`it is ${state}`, async () => {
      const status = await wish(order, ticket)
      return status.state === state ? status : undefined
    })
  return { jobs, puller, traffic, wish, pull, becomes, pass: (ms: number) => (now += ms) }
}

describe('an image that a node was asked to have', () => {
  it('is pulled once for all who ask, and each hears of the end', async () => {
    const { puller, wish, pull, becomes } = start()
    const [ann, ben] = [randomUUID(), randomUUID()]
    await wish(app, ann)
    await wish(app, ben)
    await becomes('pulling', app, ann)
    ;(await pull(0)).done()
    await becomes('done', app, ann)
    await becomes('done', app, ben)
    assert.equal(puller.pulls.length, 1)
  })

  it('is pulled again for who asks after it was had: it may be gone since', async () => {
    const { puller, wish, pull, becomes } = start()
    const [ann, ben] = [randomUUID(), randomUUID()]
    await wish(app, ann)
    ;(await pull(0)).done()
    await becomes('done', app, ann)
    await wish(app, ben)
    ;(await pull(1)).done()
    await becomes('done', app, ben)
    assert.equal(puller.pulls.length, 2)
  })

  it('says how much of it is here, and never that it becomes less', async () => {
    const blobs: Descriptor[] = [100, 50].map((size, n) => ({ digest: digestOf(n), size, mediaType: 'x/y' }))
    const counts = [30, 120, 60]
    const { wish, pull, becomes } = start({
      contents: async () => blobs,
      arrived: async () => counts.shift() ?? 60,
    })
    const ticket = randomUUID()
    await wish(app, ticket)
    const held = await pull(0)
    const seen = [await wish(app, ticket), await wish(app, ticket), await wish(app, ticket)]
    assert.deepEqual(
      seen.map(({ state, bytes, total }) => ({ state, bytes, total })),
      [30, 120, 120].map((bytes) => ({ state: 'pulling', bytes, total: 150 })),
    )
    held.done()
    const end = await becomes('done', app, ticket)
    assert.equal(end.bytes, 150)
  })

  it('says where the bytes came from, and that it came past the mirror when nothing was asked of that', async () => {
    const { traffic, wish, pull, becomes } = start()
    const ticket = randomUUID()
    const repository = 'docker.io/library/app'
    traffic.note({ kind: 'manifest', status: 200, repository })
    await wish(app, ticket)
    const first = await pull(0)
    traffic.note({ kind: 'manifest', status: 200, repository })
    traffic.note({
      kind: 'blob',
      status: 200,
      repository,
      shares: [
        { source: 'peer', peer: '10.0.0.1:7951', bytes: 7 },
        { source: 'upstream', bytes: 2 },
        { source: 'local', bytes: 90 },
      ],
    })
    traffic.note({
      kind: 'blob',
      status: 200,
      repository: 'docker.io/library/other',
      shares: [{ source: 'peer', bytes: 5 }],
    })
    first.done()
    const end = await becomes('done', app, ticket)
    assert.deepEqual([end.fromPeers, end.fromUpstream, end.message], [7, 2, undefined])

    const again = randomUUID()
    await wish(app, again)
    ;(await pull(1)).done()
    assert.match((await becomes('done', app, again)).message ?? '', /past Nabo.*hosts\.toml/)

    const third = randomUUID()
    await wish(app, third)
    const last = await pull(2)
    traffic.note({ kind: 'manifest', status: 404, repository })
    last.done()
    assert.match((await becomes('done', app, third)).message ?? '', /past Nabo.*refused/)
  })

  it('fails when the tag has come to name something else', async () => {
    const { wish, pull, becomes } = start()
    const order = { ...app, digest: digestOf(1) }
    const ticket = randomUUID()
    await wish(order, ticket)
    ;(await pull(0)).done({ digest: digestOf(2) })
    assert.match((await becomes('failed', order, ticket)).message ?? '', /moved/)
  })

  it('fails in the words of the puller, or cannot be had on this node at all', async () => {
    const { wish, pull, becomes } = start({ mirrors: ({ registry }) => registry !== 'ghcr.io' })
    const ticket = randomUUID()
    await wish(app, ticket)
    ;(await pull(0)).fail(new PullError('failed', 'no space left on device'))
    assert.equal((await becomes('failed', app, ticket)).message, 'no space left on device')
    const other = orderFor('docker.io/library/other:1')
    await wish(other, ticket)
    ;(await pull(1)).fail(new PullError('unsupported', 'too old'))
    assert.equal((await becomes('unsupported', other, ticket)).message, 'too old')
    assert.equal((await wish(orderFor('ghcr.io/org/app:1'), ticket)).state, 'unsupported')
  })

  it('is pulled when its manifest cannot be read', async () => {
    const { wish, pull, becomes } = start({ contents: () => Promise.reject(new Error('no')) })
    const ticket = randomUUID()
    await wish(app, ticket)
    ;(await pull(0)).done()
    assert.equal((await becomes('done', app, ticket)).total, undefined)
  })

  it('is left to the nodes of the zones that were named', async () => {
    const east = start({ zone: 'east' })
    assert.deepEqual(await east.wish(app, randomUUID(), { zones: ['west'] }), { state: 'elsewhere', zone: 'east' })
    assert.equal((await east.wish(app, randomUUID(), { zones: ['west', 'east'] })).zone, 'east')
    assert.equal((await start().wish(app, randomUUID(), { zones: ['east'] })).state, 'elsewhere')
  })
})

describe('an order that is taken back', () => {
  it('ends the pull', async () => {
    const { wish, pull } = start()
    const ticket = randomUUID()
    await wish(app, ticket)
    const { signal } = await pull(0)
    assert.equal((await wish(app, ticket, { cancel: true })).state, 'cancelled')
    assert.ok(signal.aborted)
  })

  it('does not end it for others, unless these have long gone', async () => {
    const { wish, pull, pass } = start()
    const [ann, ben, cleo] = [randomUUID(), randomUUID(), randomUUID()]
    await wish(app, ann)
    await wish(app, ben)
    const { signal } = await pull(0)
    await wish(app, ann, { cancel: true })
    assert.ok(!signal.aborted)
    pass(31_000)
    await wish(app, cleo)
    await wish(app, cleo, { cancel: true })
    assert.ok(signal.aborted)
  })

  it('is of no matter where it was never given', async () => {
    const { wish, puller } = start()
    const ticket = randomUUID()
    assert.equal((await wish(app, ticket, { cancel: true })).state, 'cancelled')
    // Overtaken by its own end.
    assert.equal((await wish(app, ticket)).state, 'cancelled')
    assert.equal(puller.pulls.length, 0)
  })

  it('gives its place to the next', async () => {
    const { wish, pull, puller, becomes } = start()
    const tickets = Array.from({ length: 5 }, () => randomUUID())
    const orders = tickets.map((_, n) => orderFor(`docker.io/library/app:${n}`))
    for (const [n, order] of orders.entries()) await wish(order, tickets[n] ?? '')
    await pull(2)
    assert.equal((await wish(orders[3] ?? app, tickets[3] ?? '')).state, 'queued')
    await wish(orders[3] ?? app, tickets[3] ?? '', { cancel: true })
    await wish(orders[0] ?? app, tickets[0] ?? '', { cancel: true })
    assert.equal((await pull(3)).order.reference.tag, '4')
    for (const pull of puller.pulls) pull.done()
    for (const n of [1, 2, 4]) await becomes('done', orders[n] ?? app, tickets[n] ?? '')
  })
})

describe('a node that is asked for more than it can remember', () => {
  it('refuses new images while it works on the old ones, and forgets outcomes first', async () => {
    const { wish, pull, becomes } = start()
    const ticket = randomUUID()
    const order = (n: number) => orderFor(`docker.io/library/app:${n}`)
    for (let n = 0; n < 64; n += 1) await wish(order(n), ticket)
    assert.equal((await wish(order(64), ticket)).state, 'failed')
    ;(await pull(0)).done()
    await becomes('done', order(0), ticket)
    assert.equal((await wish(order(64), ticket)).state, 'queued')
  })

  it('forgets an outcome after some minutes', async () => {
    const { wish, pull, puller, becomes, pass } = start()
    const ticket = randomUUID()
    await wish(app, ticket)
    ;(await pull(0)).done()
    await becomes('done', app, ticket)
    pass(11 * 60_000)
    await wish(app, ticket)
    await pull(1)
    assert.equal(puller.pulls.length, 2)
  })

  it('ends everything when it stops', async () => {
    const { jobs, wish, pull, becomes } = start()
    const ticket = randomUUID()
    await wish(app, ticket)
    const { signal } = await pull(0)
    jobs.stop()
    assert.ok(signal.aborted)
    await becomes('cancelled', app, ticket)
  })
})
