import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { Quarantine } from '../../../src/delivery/integrity/quarantine.ts'
import { SoundStore } from '../../../src/delivery/integrity/sound-store.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import type { ContentStore, StoreChange } from '../../../src/store/content-store.ts'
import { contentStoreSuite } from '../../store/content-store-suite.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const signal = new AbortController().signal
const log = { warn: () => {}, error: () => {} }

contentStoreSuite(
  'without what is in quarantine',
  async () => {
    const store = new MemoryStore()
    const sound = new SoundStore(store, new Quarantine(log), log)
    await sound.start()
    return {
      store: sound,
      put: async (image, tag) => {
        for (const { bytes } of [...image.blobs, ...image.manifests]) store.put(bytes, tag)
        store.tag(tag, image.root.descriptor)
      },
      drop: async (digest) => store.drop(digest),
      [Symbol.asyncDispose]: () => sound.stop(),
    }
  },
  {},
)

describe('a blob in quarantine', () => {
  const bytes = Buffer.from('a blob')
  let store: MemoryStore
  let quarantine: Quarantine
  let sound: ContentStore
  let digest: Digest
  let changes: string[]
  let errors: object[]

  beforeEach(() => {
    errors = []
    store = new MemoryStore()
    quarantine = new Quarantine({ error: (fields) => errors.push(fields) })
    sound = new SoundStore(store, quarantine, log)
    digest = store.put(bytes)
    changes = []
    sound.subscribe(({ type, entry }: StoreChange) => changes.push(`${type} ${entry.type}`))
  })

  it('goes for all who look, and is logged and counted once', async () => {
    quarantine.add(digest)
    quarantine.add(digest)
    assert.deepEqual(changes, ['removed blob'])
    assert.deepEqual(sound.entries(), [])
    assert.equal(await sound.open(digest, { signal }), undefined)
    assert.equal(await sound.openGrowing(digest, { signal }), undefined)
    assert.deepEqual(errors, [{ digest }])
    assert.equal(quarantine.total, 1)
    assert.equal(quarantine.size, 1)
  })

  it('takes nothing else with it', async () => {
    const other = store.put(Buffer.from('another'))
    quarantine.add(digest)
    assert.deepEqual(sound.entries(), [{ type: 'blob', digest: other }])
    assert.notEqual(await sound.open(other, { signal }), undefined)
  })

  it('comes back when the store has dropped it and got it again', async () => {
    quarantine.add(digest)
    store.drop(digest)
    assert.equal(quarantine.size, 0)
    store.put(bytes)
    assert.deepEqual(changes, ['removed blob', 'added blob'])
    assert.notEqual(await sound.open(digest, { signal }), undefined)
    assert.equal(quarantine.total, 1)
  })

  it('is not told of again while the store still has it', () => {
    let tell: (change: StoreChange) => void = () => {}
    store.subscribe = (listener) => {
      tell = listener
      return () => {}
    }
    const following = new SoundStore(store, quarantine, log)
    following.subscribe(({ type, entry }) => changes.push(`${type} ${entry.type}`))
    quarantine.add(digest)
    tell({ type: 'added', entry: { type: 'blob', digest } })
    assert.deepEqual(changes, ['removed blob'])
  })
})
