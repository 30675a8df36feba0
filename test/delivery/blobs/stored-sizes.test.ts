import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KnownSizes } from '../../../src/delivery/blobs/known-sizes.ts'
import { StoredSizes } from '../../../src/delivery/blobs/stored-sizes.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { makeImage } from '../../support/image-maker.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const APP = { registry: 'docker.io', name: 'library/app' }
const OTHER = { registry: 'docker.io', name: 'library/other' }
const options = { signal: new AbortController().signal }

describe('the sizes in the manifests of the content store', () => {
  const image = makeImage({ layers: [{ size: 3000, seed: 'stored' }] })
  const layer = image.layers[0]?.descriptor ?? assert.fail()

  function setUp() {
    const store = new MemoryStore()
    const sizes = new KnownSizes()
    let opened = 0
    const counting = {
      manifestsOf: store.manifestsOf.bind(store),
      open: (...args: Parameters<MemoryStore['open']>) => {
        opened += 1
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
})
