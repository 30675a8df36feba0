import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { StoredSizes } from '../../../src/delivery/blobs/stored-sizes.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { makeImage } from '../../support/image-maker.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const APP = { registry: 'docker.io', name: 'library/app' }
const OTHER = { registry: 'docker.io', name: 'library/other' }
const options = { signal: new AbortController().signal }

describe('the sizes in the manifests of the content store', () => {
  const image = makeImage({ layers: [{ size: 3000, seed: 'stored' }] })
  const layer = image.layers[0]?.descriptor ?? assert.fail()

  function setUp(read: (digest: Digest) => Promise<void> = async () => {}) {
    const store = new MemoryStore()
    const sizes = new KnownSizes()
    let opened = 0
    const counting = {
      manifestsOf: store.manifestsOf.bind(store),
      open: async (...args: Parameters<MemoryStore['open']>) => {
        opened += 1
        await read(args[0])
        return store.open(...args)
      },
    }
    const stored = new StoredSizes({ store: counting, sizes, log: { debug: () => {} } })
    return { store, sizes, stored, opened: () => opened }
  }

  it('are known for their repository alone, and each manifest is read once for all blobs', async () => {
    const { store, sizes, stored, opened } = setUp()
    store.put(image.manifest.bytes, APP)
    const unknown = digestOf(Buffer.from('in no manifest'))
    await Promise.all([layer.digest, unknown, layer.digest].map((digest) => stored.learn(APP, digest, options)))
    for (const digest of [unknown, layer.digest]) await stored.learn(APP, digest, options)
    await stored.learn(OTHER, layer.digest, options)
    assert.equal(sizes.of(APP, layer.digest), layer.size)
    assert.equal(sizes.of(APP, unknown), undefined)
    assert.equal(sizes.of(OTHER, layer.digest), undefined)
    assert.equal(opened(), 1)
  })

  it('are read of a manifest that comes later, and of a bounded number for one blob', async () => {
    const { store, sizes, stored, opened } = setUp()
    const unknown = digestOf(Buffer.from('in no manifest'))
    for (let count = 0; count < 300; count += 1)
      store.put(makeImage({ layers: [{ size: 10, seed: String(count) }] }).manifest.bytes, APP)
    await stored.learn(APP, unknown, options)
    assert.equal(opened(), 256)
    await stored.learn(APP, unknown, options)
    assert.equal(opened(), 300)
    store.put(image.manifest.bytes, APP)
    await stored.learn(APP, layer.digest, options)
    assert.equal(sizes.of(APP, layer.digest), layer.size)
    assert.equal(opened(), 301)
  })

  const others = ['first', 'second'].map((seed) => makeImage({ layers: [{ size: 10, seed }] }))

  it('are known though a manifest beside theirs cannot be read, which is not tried again', async () => {
    const broken = new Set(others.map(({ manifest }) => digestOf(manifest.bytes)))
    const { store, sizes, stored, opened } = setUp(async (digest) => {
      if (broken.has(digest)) throw new Error('EIO')
    })
    const [first, second] = others.map(({ manifest }) => manifest.bytes)
    for (const bytes of [first, image.manifest.bytes, second]) store.put(bytes ?? assert.fail(), APP)
    const unknown = digestOf(Buffer.from('in no manifest'))
    await stored.learn(APP, unknown, options)
    assert.equal(sizes.of(APP, layer.digest), layer.size)
    assert.equal(opened(), 3)
    await stored.learn(APP, unknown, options)
    assert.equal(opened(), 3)
  })

  it('are waited for no longer than the deadline, and the next blob has the other manifests read', async () => {
    const [hanging] = others.map(({ manifest }) => manifest.bytes)
    const { store, sizes, stored, opened } = setUp((digest) =>
      digest === digestOf(hanging ?? assert.fail()) ? new Promise(() => {}) : Promise.resolve(),
    )
    store.put(image.manifest.bytes, APP)
    store.put(hanging ?? assert.fail(), APP)
    const unknown = digestOf(Buffer.from('in no manifest'))
    // The store in memory may give either one first.
    await stored.learn(APP, unknown, options)
    await stored.learn(APP, layer.digest, options)
    assert.equal(sizes.of(APP, layer.digest), layer.size)
    assert.equal(opened(), 2)
  })

  it('are read until those of all blobs that wait are known, and not of a document above 1 MiB', async () => {
    const { store, sizes, stored, opened } = setUp()
    for (const { manifest } of [...others, image]) store.put(manifest.bytes, APP)
    const [first, second] = others.map(({ layers }) => layers[0]?.descriptor ?? assert.fail())
    assert.ok(first !== undefined && second !== undefined)
    await Promise.all([first, second, layer].map(({ digest }) => stored.learn(APP, digest, options)))
    for (const { digest, size } of [first, second, layer]) assert.equal(sizes.of(APP, digest), size)
    assert.equal(opened(), 3)

    const large = Buffer.concat([image.manifest.bytes, Buffer.alloc(1024 * 1024, ' ')])
    store.put(large, OTHER)
    await stored.learn(OTHER, layer.digest, options)
    assert.equal(sizes.of(OTHER, layer.digest), undefined)
    store.put(image.manifest.bytes, OTHER)
    for (const { manifest } of others) store.put(manifest.bytes, OTHER)
    const before = opened()
    const [next] = (await store.manifestsOf(OTHER, options)).filter((digest) => digest !== digestOf(large))
    const wanted = [...others, image].find(({ manifest }) => digestOf(manifest.bytes) === next)?.layers[0]?.descriptor
    await stored.learn(OTHER, wanted?.digest ?? assert.fail(), options)
    assert.equal(opened() - before, 1)
  })
})
