// Several ranges in one request, as eStargz, SOCI and zstd:chunked ask: multipart/byteranges, wherever the layer comes from.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'

import type { TestDaemon } from '../support/daemon.ts'
import { LayerLab } from '../support/layer-lab.ts'
import { readMultipart } from '../support/multipart.ts'
import { eventually } from '../support/poll.ts'

const SIZE = 8_000_000

describe('several ranges in one request', () => {
  let lab: LayerLab
  before(async () => {
    lab = await LayerLab.create({ size: SIZE, seed: 'ranges' })
  })
  after(() => lab[Symbol.asyncDispose]())
  afterEach(() => lab.reset())

  const ask = (node: TestDaemon, range?: string, options: RequestInit = {}) =>
    lab.askForLayer(node, { ...options, headers: range === undefined ? {} : { range } })
  /** Checks the answer for spans, `end` exclusive. */
  const gives = async (node: TestDaemon, range: string, spans: readonly (readonly [number, number])[]) => {
    const response = await ask(node, range)
    const body = await response.bytes()
    assert.equal(response.status, 206, Buffer.from(body.subarray(0, 500)).toString())
    assert.equal(response.headers.get('content-length'), String(body.length))
    assert.equal(response.headers.get('content-range'), null)
    assert.equal(response.headers.get('docker-content-digest'), lab.layer.descriptor.digest)
    const expected = spans.map(([start, end]) => ({
      type: 'application/octet-stream',
      range: `bytes ${start}-${end - 1}/${lab.layer.bytes.length}`,
      bytes: Buffer.from(lab.layer.bytes.subarray(start, end)),
    }))
    assert.deepEqual(readMultipart(response.headers.get('content-type'), body), expected)
    return response
  }
  const everywhere = async (node: TestDaemon) => {
    const size = lab.layer.bytes.length
    await gives(node, `bytes=0-99,${size - 100}-${size - 1}`, [
      [0, 100],
      [size - 100, size],
    ])
    // One part for each range, whatever their order and however close they are: containers/image counts them.
    await gives(node, `bytes=-7, 5000000-,${size}-,, 10-19,20-29`, [
      [size - 7, size],
      [5_000_000, size],
      [10, 20],
      [20, 30],
    ])
    const past = await ask(node, `bytes=${size}-,${size + 5}-${size + 9}`)
    assert.equal(past.status, 416)
    assert.equal(past.headers.get('content-range'), `bytes */${size}`)
    await past.bytes()
  }

  it('come from the registry, which is asked for what they mean and no more', async () => {
    const node = await lab.start()
    await lab.askForManifest(node)
    const size = lab.layer.bytes.length
    await gives(node, `bytes=0-99,${size - 100}-${size - 1}`, [
      [0, 100],
      [size - 100, size],
    ])
    assert.deepEqual([(await lab.sent()).gets, (await lab.sent()).bytes], [2, 200])
    // What is close together comes by one request.
    await lab.hub.reset()
    await gives(node, 'bytes=1000-1099,2000-2099,66000-66009', [
      [1000, 1100],
      [2000, 2100],
      [66_000, 66_010],
    ])
    assert.deepEqual([(await lab.sent()).gets, (await lab.sent()).bytes], [1, 65_010])
    await everywhere(node)
    assert.equal((await node.status()).blobs, 1, 'the manifest')
  })

  it('come from the registry also when no manifest has said the size', async () => {
    await everywhere(await lab.start())
  })

  it('come from a registry that answers ranges with all of the layer', async () => {
    const node = await lab.start()
    await lab.hub.setFaults({ range: 'ignored' })
    await gives(node, 'bytes=100-199,3000000-3000099', [
      [100, 200],
      [3_000_000, 3_000_100],
    ])
  })

  it('come from the store, and from a node that holds the layer', async () => {
    const holder = await lab.start()
    await lab.askForManifest(holder)
    await (await ask(holder)).bytes()
    await eventually('the layer is in the cache', async () => (await holder.status()).blobs === 2)
    const other = await lab.start()
    await eventually('all that the holder holds is known', async () => {
      const { ownKeys } = (await holder.status()).index
      return ownKeys > 1 && (await other.status()).index.claims >= ownKeys
    })
    await lab.hub.reset()
    await everywhere(holder)
    await everywhere(other)
    assert.equal((await lab.sent()).bytes, 0)
    const { headers } = await gives(other, 'bytes=0-9,1000000-1000009', [
      [0, 10],
      [1_000_000, 1_000_010],
    ])
    assert.equal(headers.get('nabo-source'), 'peer')
    assert.partialDeepStrictEqual(other.requests().at(-1), { status: 206, bytes: 20, outcome: 'done' })
  })

  it('are 1,024 at most, of no more bytes than the layer has; HEAD ignores them', async () => {
    const node = await lab.start()
    await lab.askForManifest(node)
    const many = (count: number) => Array.from({ length: count }, (_, at) => [at * 5000, at * 5000 + 10] as const)
    const header = (spans: readonly (readonly [number, number])[]) =>
      `bytes=${spans.map(([start, end]) => `${start}-${end - 1}`).join()}`
    await gives(node, header(many(1024)), many(1024))
    assert.ok((await lab.sent()).gets < 5, 'they are 5,000 bytes apart')
    for (const [range, message] of [
      [header(many(1025)), /more than 1024 ranges/],
      [`bytes=0-,1-`, /more bytes than the blob has/],
    ] as const) {
      const response = await ask(node, range)
      assert.equal(response.status, 400)
      assert.match(await response.text(), message)
    }
    const head = await ask(node, 'bytes=0-9,20-29', { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.equal(head.headers.get('content-length'), String(lab.layer.bytes.length))
    // One that is malformed makes the whole header void.
    const whole = await ask(node, 'bytes=0-9,9-5')
    assert.equal(whole.status, 200)
    assert.equal((await whole.bytes()).length, lab.layer.bytes.length)
  })

  it('cost the registry few requests, whatever their order; 400 where that cannot be, and none', async () => {
    const node = await lab.start()
    await lab.askForManifest(node)
    const equal = Array.from({ length: 1024 }, () => [0, 1] as const)
    await gives(node, `bytes=${equal.map(() => '0-0').join()}`, equal)
    await gives(node, 'bytes=500-599,0-99,550-649', [
      [500, 600],
      [0, 100],
      [550, 650],
    ])
    assert.equal((await lab.sent()).gets, 2)
    await lab.hub.reset()
    const toAndFro = Array.from({ length: 100 }, () => '0-0,4000000-4000000').join()
    const refused = await ask(node, `bytes=${toAndFro}`)
    assert.equal(refused.status, 400)
    assert.match(await refused.text(), /more than 64 separate/)
    assert.equal((await lab.sent()).gets, 0)
    await (await ask(node)).bytes()
    await eventually('the layer is in the cache', async () => (await node.status()).blobs === 2)
    const local = await ask(node, `bytes=${toAndFro}`)
    assert.equal(local.status, 206)
    await local.bytes()
  })

  it('end when their client leaves', async () => {
    const node = await lab.start()
    await lab.askForManifest(node)
    await lab.hub.setFaults({ cdn: { bytesPerSecond: 100_000 } })
    const client = new AbortController()
    const response = await ask(node, 'bytes=0-999999,2000000-2999999,4000000-4999999', { signal: client.signal })
    await response.body?.getReader().read()
    const transfers = async () => ((await node.status()) as unknown as { transferCount: number }).transferCount
    assert.ok((await transfers()) > 1, 'the next parts are opened ahead')
    client.abort()
    await eventually('the request is over', () => node.requests().at(-1)?.['outcome'] === 'client-gone')
    await eventually('no transfer is left', async () => (await transfers()) === 0)
    await lab.hub.setFaults({ cdn: {} })
  })
})
