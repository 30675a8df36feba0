import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'

import { OfferedStore, type OfferedStoreOptions } from '../../../src/delivery/access/offered-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import { tagKey, type TagReference } from '../../../src/oci/reference.ts'
import type { ContentSource, StoreEntry } from '../../../src/store/content-store.ts'
import { contentStoreSuite } from '../../store/content-store-suite.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { eventually } from '../../support/poll.ts'
import { recordedLog } from '../../support/recorded-log.ts'

const signal = new AbortController().signal
const APP: TagReference = { registry: 'docker.io', name: 'library/app', tag: '1' }
const LEFT_OUT: TagReference = { registry: 'reg.test', name: 'team/app', tag: '1' }
const bytesOf = (text: string) => Buffer.from(text)
const nameOf = (entry: StoreEntry) => (entry.type === 'blob' ? entry.digest : tagKey(entry.tag))
const descriptorOf = (digest: Digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 })

contentStoreSuite(
  'where all registries are listed',
  async () => {
    const inner = new MemoryStore()
    const store = new OfferedStore(inner, { includes: () => true, log: recordedLog() })
    await store.start()
    return {
      store,
      put: async (image, tag) => {
        for (const { bytes } of [...image.blobs, ...image.manifests]) inner.put(bytes, tag)
        inner.tag(tag, image.root.descriptor)
      },
      drop: async (digest) => inner.drop(digest),
      [Symbol.asyncDispose]: () => store.stop(),
    }
  },
  {},
)

/** Lets `sources` fail or wait, and counts it. */
class AskedStore extends MemoryStore {
  readonly asked: Digest[] = []
  underWay = 0
  mostUnderWay = 0
  answer: () => Promise<void> = async () => {}

  override async sources(digest: Digest, options: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    this.asked.push(digest)
    this.underWay += 1
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay)
    try {
      await this.answer()
      return await super.sources(digest, options)
    } finally {
      this.underWay -= 1
    }
  }
}

describe('an offered store', () => {
  let inner: AskedStore
  let store: OfferedStore
  let told: string[]
  const log = recordedLog()

  const open = (sourcesOf?: OfferedStoreOptions['sourcesOf']) => {
    const offered = new OfferedStore(inner, { includes: ({ registry }) => registry === 'docker.io', sourcesOf, log })
    offered.subscribe(({ type, entry }) => told.push(`${type} ${nameOf(entry)}`))
    return offered
  }
  const listed = () => store.entries().map(nameOf)

  beforeEach(() => {
    inner = new AskedStore()
    told = []
    store = open()
  })
  afterEach(async () => {
    await store.stop()
    assert.deepEqual(log.lines, [])
  })

  it('lists and tells of what has a source at an included registry alone', async () => {
    const before = inner.put(bytesOf('before'), APP)
    const hidden = inner.put(bytesOf('hidden before'), LEFT_OUT)
    await store.start()
    const after = inner.put(bytesOf('after'), LEFT_OUT, APP)
    inner.put(bytesOf('hidden after'), LEFT_OUT)
    await turn()
    assert.deepEqual(told.toSorted(), [`added ${after}`, `added ${before}`].toSorted())
    assert.deepEqual(listed(), [after, before])
    const blob = await store.open(hidden, { signal })
    assert.equal(blob?.size, 13)
    await blob.close()
    assert.equal((await store.openGrowing(hidden, { signal }))?.size, 13)
    assert.deepEqual(
      (await store.sources(hidden, { signal })).map(({ registry }) => registry),
      ['reg.test'],
    )
    assert.deepEqual(store.status(), { ready: true })
  })

  it('knows the tags of included registries alone', async () => {
    await store.start()
    const digest = inner.put(bytesOf('tagged'), APP)
    for (const tag of [APP, LEFT_OUT]) inner.tag(tag, descriptorOf(digest))
    await turn()
    assert.deepEqual(listed(), [tagKey(APP), digest])
    assert.equal((await store.resolve(APP, { signal }))?.descriptor.digest, digest)
    assert.equal(await store.resolve(LEFT_OUT, { signal }), undefined)
    await assert.rejects(store.resolve(LEFT_OUT, { signal: AbortSignal.abort(new Error('gone')) }), /gone/)
    inner.drop(digest)
    assert.deepEqual(
      told.toSorted(),
      [`added ${digest}`, `added ${tagKey(APP)}`, `removed ${digest}`, `removed ${tagKey(APP)}`].toSorted(),
    )
    assert.deepEqual(listed(), [])
  })

  it('tells that a blob went only if it told of it before', async () => {
    await store.start()
    const hidden = inner.put(bytesOf('hidden'), LEFT_OUT)
    await turn()
    inner.drop(hidden)
    const quick = inner.put(bytesOf('quick'), APP)
    inner.drop(quick)
    const back = inner.put(bytesOf('back'), APP)
    await turn()
    inner.drop(back)
    inner.put(bytesOf('back'), APP)
    await turn()
    assert.deepEqual(told, [`added ${back}`, `removed ${back}`, `added ${back}`])
  })

  it('asks again about a blob that has no source yet, a few times', async () => {
    await store.start()
    const late = inner.put(bytesOf('late'))
    await turn()
    assert.deepEqual(listed(), [])
    inner.put(bytesOf('late'), APP)
    await eventually('it is told of', () => told.includes(`added ${late}`))
    assert.equal(inner.asked.length, 2)
    const never = inner.put(bytesOf('never'))
    // At once, after 0.25 s and 0.5 s more.
    await eventually('it is asked about', () => inner.asked.filter((digest) => digest === never).length === 3)
  })

  it('asks again about all that is hidden when a tag comes', async () => {
    await store.start()
    const sourceless = inner.put(bytesOf('without a source'))
    const leftOut = inner.put(bytesOf('of another registry'), LEFT_OUT)
    const other = inner.put(bytesOf('of another registry, still'), LEFT_OUT)
    await turn()
    inner.put(bytesOf('without a source'), APP)
    inner.put(bytesOf('of another registry'), APP)
    await turn()
    assert.deepEqual(listed(), [])
    inner.asked.length = 0
    for (const tag of ['1', '2', '3']) inner.tag({ ...LEFT_OUT, tag }, descriptorOf(other))
    await turn()
    assert.deepEqual(listed().toSorted(), [sourceless, leftOut].toSorted())
    assert.equal(inner.asked.length, 3)
  })

  it('takes the word of who saw the blob come', async () => {
    await store.stop()
    const seen = new Map([[digestOf(bytesOf('seen')), [APP]]])
    store = open((digest) => seen.get(digest) ?? [])
    await store.start()
    const digest = inner.put(bytesOf('seen'))
    await turn()
    assert.deepEqual(told, [`added ${digest}`])
    assert.equal(inner.asked.length, 0)
  })

  it('asks about few at the same time, and survives a store that fails', async () => {
    const answers = Promise.withResolvers<void>()
    inner.answer = () => answers.promise
    for (let i = 0; i < 100; i++) inner.put(bytesOf(`many ${i}`), APP)
    await store.start()
    await turn()
    assert.equal(inner.mostUnderWay, 8)
    answers.resolve()
    await eventually('all are listed', () => listed().length === 100)
    assert.equal(inner.mostUnderWay, 8)
    inner.answer = async () => {
      throw new Error('the store is broken')
    }
    const digest = inner.put(bytesOf('broken'), APP)
    await turn()
    assert.ok(!listed().includes(digest))
    inner.answer = async () => {}
    await eventually('it is listed', () => listed().includes(digest))
  })

  it('does nothing any more after its stop', async () => {
    await store.start()
    const answers = Promise.withResolvers<void>()
    inner.answer = () => answers.promise
    inner.put(bytesOf('under way'), APP)
    await store.stop()
    answers.resolve()
    inner.put(bytesOf('later'), APP)
    inner.tag(APP, descriptorOf(inner.put(bytesOf('tagged'), APP)))
    await sleep(400)
    assert.deepEqual([told, inner.asked.length], [[], 1])
  })

  it('keeps no process alive', async () => {
    const url = (path: string) => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href)
    const script = `
      const { OfferedStore } = await import(${url('src/delivery/access/offered-store.ts')})
      const { MemoryStore } = await import(${url('test/support/memory-store.ts')})
      const inner = new MemoryStore()
      const store = new OfferedStore(inner, { includes: () => true, log: { debug() {}, warn() {} } })
      await store.start()
      inner.put(Buffer.from('without a source'))`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' })
    const [code] = (await once(child, 'exit', { signal: AbortSignal.timeout(60_000) })) as [number]
    assert.equal(code, 0)
  })
})
