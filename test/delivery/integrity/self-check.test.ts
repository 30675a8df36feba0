import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { Quarantine } from '../../../src/delivery/integrity/quarantine.ts'
import { SelfCheck } from '../../../src/delivery/integrity/self-check.ts'
import { SoundStore } from '../../../src/delivery/integrity/sound-store.ts'
import { type Digest, digestHex, digestOf } from '../../../src/oci/digest.ts'
import type { OpenBlob } from '../../../src/store/content-store.ts'
import { DirectoryStore } from '../../../src/store/directory/directory-store.ts'
import { MemoryStore } from '../../support/memory-store.ts'
import { eventually } from '../../support/poll.ts'

const MINUTE = 60_000
const signal = new AbortController().signal

interface Line {
  readonly level: string
  readonly fields: Record<string, unknown>
}

function keepLines() {
  const lines: Line[] = []
  const at = (level: string) => (fields: object) => void lines.push({ level, fields: { ...fields } })
  return { lines, log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}

describe('a node that is asked to check what it holds in a directory', () => {
  let directory: string
  let store: DirectoryStore
  let sound: SoundStore
  let quarantine: Quarantine
  let check: SelfCheck
  let kept: ReturnType<typeof keepLines>

  beforeEach(async () => {
    kept = keepLines()
    directory = await mkdtemp(join(tmpdir(), 'nabo-self-check-'))
    store = new DirectoryStore({ directory, maxBytes: 100_000_000, log: kept.log })
    quarantine = new Quarantine(kept.log)
    sound = new SoundStore(store, quarantine, kept.log)
    await sound.start()
    create({ discards: true })
  })
  afterEach(async () => {
    await check.stop()
    await sound.stop()
    await rm(directory, { recursive: true, force: true })
  })

  function create({ discards }: { discards: boolean }) {
    const discard = discards ? (digest: Digest) => store.discard(digest) : undefined
    check = new SelfCheck({ store: sound, quarantine, discard, log: kept.log })
  }
  async function hold(bytes: Uint8Array, algorithm?: 'sha256' | 'sha512'): Promise<Digest> {
    const digest = digestOf(bytes, algorithm)
    const ingest = await store.ingest(digest, { size: bytes.length })
    assert.ok(ingest)
    await ingest.write(bytes)
    await ingest.commit()
    return digest
  }
  async function damage(digest: Digest, bytes: Uint8Array): Promise<void> {
    const files = await readdir(directory, { recursive: true })
    const path = files.find((name) => name.endsWith(digestHex(digest)))
    assert.ok(path)
    await writeFile(join(directory, path), bytes)
  }
  const errors = () => kept.lines.filter(({ level }) => level === 'error')
  const layer = (size: number) => Buffer.alloc(size, 'layer ')

  it('keeps what is right, by either algorithm', async () => {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const digest = await hold(layer(3_000_001), algorithm)
      assert.equal(check.request(digest), true)
      await eventually('it was checked', () => kept.lines.some(({ fields }) => fields['digest'] === digest))
      assert.ok(sound.entries().some((entry) => entry.type === 'blob' && entry.digest === digest))
    }
    assert.equal(quarantine.total, 0)
  })

  it('drops what is damaged, says so once without the path, and takes it in again', async () => {
    const bytes = layer(3_000_000)
    const digest = await hold(bytes)
    const changes: string[] = []
    sound.subscribe(({ type }) => changes.push(type))
    const wrong = Buffer.from(bytes)
    wrong[2_999_999] = 0
    await damage(digest, wrong)
    assert.equal(check.request(digest), true)
    await eventually('it is gone', () => store.entries().length === 0)
    assert.equal(quarantine.total, 1)
    assert.equal(errors().length, 1)
    assert.equal(errors()[0]?.fields['digest'], digest)
    assert.ok(!JSON.stringify(errors()).includes(directory))
    await hold(bytes)
    assert.deepEqual(changes, ['removed', 'added'])
    assert.equal(quarantine.size, 0)
    const blob = await sound.open(digest, { signal })
    assert.equal(blob?.size, bytes.length)
    await blob?.close()
  })

  it('keeps what is damaged from all where it cannot drop it', async () => {
    create({ discards: false })
    const digest = await hold(layer(1000))
    await damage(digest, Buffer.alloc(1000))
    check.request(digest)
    await eventually('it is in quarantine', () => quarantine.has(digest))
    assert.deepEqual(sound.entries(), [])
    assert.equal(await sound.open(digest, { signal }), undefined)
    assert.equal(store.entries().length, 1)
  })

  it('takes a file that was cut short for damaged', async () => {
    const digest = await hold(layer(2_000_000))
    const open = store.open.bind(store)
    store.open = async (wanted, options) => {
      const blob = await open(wanted, options)
      const files = await readdir(directory, { recursive: true })
      await truncate(join(directory, files.find((name) => name.endsWith(digestHex(digest))) ?? ''), 1_000_000)
      return blob
    }
    check.request(digest)
    await eventually('it is in quarantine', () => quarantine.total === 1)
  })
})

describe('checks of stored blobs', () => {
  let store: MemoryStore
  let quarantine: Quarantine
  let check: SelfCheck
  let kept: ReturnType<typeof keepLines>
  let opened: Digest[]
  let gate: PromiseWithResolvers<void> | undefined

  beforeEach(() => {
    kept = keepLines()
    store = new MemoryStore()
    opened = []
    gate = undefined
    const open = store.open.bind(store)
    store.open = async (digest, options): Promise<OpenBlob | undefined> => {
      opened.push(digest)
      const blob = await open(digest, options)
      const held = gate
      if (blob === undefined || held === undefined) return blob
      const read = async (target: Uint8Array, position: number) => {
        await held.promise
        return blob.read(target, position)
      }
      return { size: blob.size, fd: undefined, read, close: () => blob.close() }
    }
    quarantine = new Quarantine(kept.log)
    check = new SelfCheck({ store, quarantine, discard: undefined, log: kept.log })
  })
  afterEach(() => check.stop())

  const hold = (text: string) => store.put(Buffer.from(text))
  const checked = (digest: Digest) =>
    eventually('it was checked', () => kept.lines.some(({ fields }) => fields['digest'] === digest))

  it('run once in ten minutes for each blob', async (test) => {
    let now = 0
    test.mock.method(performance, 'now', () => now)
    const digest = hold('a')
    assert.equal(check.request(digest), true)
    assert.equal(check.request(digest), false)
    await eventually('it was checked', () => kept.lines.length === 1, { timeoutMs: Number.POSITIVE_INFINITY })
    now = 9 * MINUTE
    assert.equal(check.request(digest), false)
    now = 11 * MINUTE
    assert.equal(check.request(digest), true)
    await eventually('it was checked', () => kept.lines.length === 2, { timeoutMs: Number.POSITIVE_INFINITY })
    assert.equal(opened.length, 2)
  })

  it('run one at a time, and the others wait', async () => {
    gate = Promise.withResolvers()
    const digests = ['a', 'b', 'c'].map(hold)
    for (const digest of digests) assert.equal(check.request(digest), true)
    await eventually('the first one is read', () => opened.length === 1)
    gate.resolve()
    for (const digest of digests) await checked(digest)
    assert.deepEqual(opened, digests)
  })

  it('wait in bounded number', async () => {
    gate = Promise.withResolvers()
    const digests = Array.from({ length: 2000 }, (_, i) => hold(`blob ${i}`))
    const accepted = digests.filter((digest) => check.request(digest))
    assert.ok(accepted.length < 300, `${accepted.length}`)
    gate.resolve()
    for (const digest of accepted) await checked(digest)
    assert.equal(check.request(digests[1999] ?? hold('x')), true)
  })

  it('do no harm for what is not held, which may be asked for again when it is', async () => {
    const digest = digestOf(Buffer.from('later'))
    assert.equal(check.request(digest), true)
    await eventually('it was looked for', () => opened.length === 1)
    hold('later')
    await eventually('it may be asked for', () => check.request(digest))
    await checked(digest)
    assert.equal(quarantine.total, 0)
  })

  it('say nothing about a blob that was replaced meanwhile', async () => {
    gate = Promise.withResolvers()
    const bytes = Buffer.from('soon damaged')
    const digest = store.put(bytes)
    check.request(digest)
    await eventually('it is read', () => opened.length === 1)
    bytes[0] = 0
    store.drop(digest)
    hold('soon damaged')
    gate.resolve()
    const next = hold('next')
    check.request(next)
    await checked(next)
    assert.equal(quarantine.total, 0)
  })

  it('that cannot read are logged, and no reason to refuse the blob', async () => {
    const digest = hold('a')
    store.open = async () => ({
      size: 10,
      fd: undefined,
      read: async () => {
        throw new Error('EIO: i/o error')
      },
      close: async () => {},
    })
    check.request(digest)
    await checked(digest)
    assert.equal(kept.lines[0]?.level, 'warn')
    assert.equal(quarantine.total, 0)
  })

  it('end when the node stops', async () => {
    gate = Promise.withResolvers()
    check.request(hold('a'))
    check.request(hold('b'))
    await eventually('the first one is read', () => opened.length === 1)
    await check.stop()
    assert.equal(opened.length, 1)
    assert.equal(check.request(hold('c')), false)
    assert.deepEqual(kept.lines, [])
  })
})
