// Lazy pulling (eStargz, SOCI, zstd:chunked): clients that read small parts of a layer, and never all of it.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'

import { digestOf } from '../../src/oci/digest.ts'
import type { TestDaemon } from '../support/daemon.ts'
import { LayerLab } from '../support/layer-lab.ts'
import { eventually } from '../support/poll.ts'

const SIZE = 8_000_000
/** stargz-snapshotter's default. */
const CHUNK = 50_000

describe('lazy pulling through a directory store', () => {
  let lab: LayerLab
  before(async () => {
    lab = await LayerLab.create({ size: SIZE, seed: 'lazy' })
  })
  after(() => lab[Symbol.asyncDispose]())
  afterEach(() => lab.reset())

  const read = async (node: TestDaemon, start: number, end: number) => {
    const response = await lab.askForLayer(node, { headers: { range: `bytes=${start}-${end - 1}` } })
    assert.equal(response.status, 206)
    assert.equal(response.headers.get('content-range'), `bytes ${start}-${end - 1}/${lab.layer.bytes.length}`)
    assert.deepEqual(Buffer.from(await response.bytes()), Buffer.from(lab.layer.bytes.subarray(start, end)))
  }
  /** As stargz-snapshotter mounts a layer: a look, the size, the footer, the table of contents, and then chunks here and there. Returns the bytes read. */
  const mount = async (node: TestDaemon) => {
    const size = lab.layer.bytes.length
    await read(node, 0, 2)
    assert.equal((await lab.askForLayer(node, { method: 'HEAD' })).headers.get('content-length'), String(size))
    const parts: [number, number][] = [
      [size - 51, size],
      [size - 20_000, size - 51],
    ]
    for (const at of [3, 100, 101, 40, 3]) parts.push([at * CHUNK, (at + 1) * CHUNK])
    for (const [start, end] of parts) await read(node, start, end)
    return 2 + parts.reduce((sum, [start, end]) => sum + end - start, 0)
  }
  const fetched = async () => (await lab.sent()).bytes
  const pull = async (node: TestDaemon) => {
    await lab.askForManifest(node)
    assert.equal(digestOf(await (await lab.askForLayer(node)).bytes()), lab.layer.descriptor.digest)
    await eventually('the layer is in the cache', async () => (await node.status()).blobs > 0)
  }

  it('fetches what is read, and no layer; a pull of all still fills the cache', async () => {
    const node = await lab.start()
    const wanted = await mount(node)
    assert.equal(await fetched(), wanted)
    assert.equal((await node.status()).blobs, 0)
    await lab.hub.reset()
    await pull(node)
    assert.equal(await fetched(), lab.layer.bytes.length)
    await mount(node)
    assert.equal(await fetched(), lab.layer.bytes.length)
    assert.ok(node.lines.every(({ msg }) => msg !== 'a blob is suspect: it is hashed when it is fetched next'))
  })

  it('does not wait for a pull of the same layer that is behind, and takes from it what is there', async () => {
    const node = await lab.start()
    await lab.hub.setFaults({ cdn: { bytesPerSecond: 200_000 } })
    const pulling = await lab.askForLayer(node)
    const reader = (pulling.body ?? assert.fail()).getReader()
    let got = 0
    while (got < 2 * CHUNK) got += (await reader.read()).value?.length ?? assert.fail()
    const size = lab.layer.bytes.length
    await read(node, size - CHUNK, size)
    // Had the read waited, the pull would have come that far: the registry gives it 200,000 bytes a second.
    assert.ok((await fetched()) < size / 2)
    const before = node.requests().length
    await read(node, 0, CHUNK)
    await eventually('the read is in the log', () => node.requests().length > before)
    assert.partialDeepStrictEqual(node.requests().at(-1), { bytes: CHUNK, outcome: 'done' })
    await lab.hub.setFaults({ cdn: {} })
    await reader.cancel()
  })

  it('reads from the node that holds the layer, and from the registry on nodes that know none', async () => {
    const holder = await lab.start()
    await pull(holder)
    const other = await lab.start()
    await eventually('all that the holder holds is known', async () => {
      const { ownKeys } = (await holder.status()).index
      return ownKeys > 1 && (await other.status()).index.claims >= ownKeys
    })
    await lab.hub.reset()
    await mount(other)
    assert.equal(await fetched(), 0)
    assert.equal((await other.status()).blobs, 0)
    await pull(other)
    assert.equal(await fetched(), 0)
  })

  it('lets two nodes read the same layer at once, each its parts', async () => {
    const [one, two] = [await lab.start(), await lab.start()]
    await eventually('the nodes know each other', async () => (await two.status()).peers === 1)
    const bytes = await Promise.all([mount(one), mount(two)])
    assert.equal(await fetched(), bytes[0] + bytes[1])
  })
})
