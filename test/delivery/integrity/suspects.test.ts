import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { Sender } from '../../../src/delivery/blobs/blob-trace.ts'
import { type HandOut, Suspects, type Suspicion } from '../../../src/delivery/integrity/suspects.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { OpenBlob } from '../../../src/store/content-store.ts'
import { MemoryStore } from '../../support/memory-store.ts'

const BYTES = Buffer.from('a layer of a hundred bytes'.padEnd(100, '.'))
const DIGEST = digestOf(BYTES)
const APP = { registry: 'docker.io', name: 'library/app' }
const OTHER = digestOf(Buffer.from('another'))
const SIZE = BYTES.length
/** What clients that pull by parts ask for at a time, or more. */
const PART = 1024 * 1024
const SECOND = 1_000
const MINUTE = 60 * SECOND
const signal = new AbortController().signal
const peer = (id: string) => ({ id, address: `10.0.0.${id.length}:7951` })
const HOLDER: Sender = { peer: peer('a'), complete: true }
const SECOND_HOLDER: Sender = { peer: peer('bb'), complete: true }
const RELAY: Sender = { peer: peer('ccc'), complete: false }

describe('a blob that was handed out', () => {
  let store: MemoryStore
  let suspects: Suspects
  let told: Suspicion[]
  let lines: { fields: object; message: string }[]
  let now: number

  beforeEach(() => {
    store = new MemoryStore()
    told = []
    lines = []
    now = 0
    suspects = new Suspects({
      store,
      log: { warn: (fields, message) => lines.push({ fields, message }) },
      onSuspect: (suspicion) => told.push(suspicion),
    })
  })
  afterEach(() => suspects.stop())

  const begin = (start = 0, toEnd = true) =>
    suspects.begin({ digest: DIGEST, repository: APP }, { start, end: toEnd ? undefined : start + PART }, { signal })
  async function handOut(parts: [Sender | undefined, number][], start = 0, toEnd = true): Promise<HandOut> {
    const out = await begin(start, toEnd)
    out.sized(SIZE)
    for (const [sender, bytes] of parts) out.sent(sender, bytes)
    out.end()
    return out
  }
  const reasons = () => told.map(({ reason }) => reason)

  it('is suspect when it is asked for again after its last byte, and its senders are avoided', async () => {
    await handOut([
      [HOLDER, 60],
      [RELAY, 40],
    ])
    assert.equal(suspects.isSuspect(DIGEST), false)
    assert.equal((await begin()).caution, 'hash')
    assert.deepEqual(told, [
      { digest: DIGEST, repositories: [APP], reason: 'asked-again', isLikely: false, senders: [HOLDER, RELAY] },
    ])
    assert.equal(suspects.avoids(DIGEST, HOLDER.peer), true)
    assert.equal(suspects.avoids(DIGEST, RELAY.peer), true)
    assert.equal(suspects.avoids(DIGEST, SECOND_HOLDER.peer), false)
    assert.equal(suspects.avoids(OTHER, HOLDER.peer), false)
    assert.equal(suspects.stats().suspectBlobs, 1)
    assert.equal(lines.length, 1)
  })

  it('is not suspect when its client gave up before the end and starts again', async () => {
    await handOut([[HOLDER, 99]])
    assert.equal((await begin()).caution, 'none')
    assert.deepEqual(told, [])
  })

  it('is not suspect when its client goes on where it was', async () => {
    await handOut([[HOLDER, 60]])
    assert.equal((await begin(50)).caution, 'none')
    assert.deepEqual(told, [])
  })

  it('is not suspect when a client fetches it in parallel, though all of it may be in socket buffers already', async () => {
    await handOut([[HOLDER, 100]])
    for (const start of [25, 50, 75]) assert.equal((await handOut([[HOLDER, 100 - start]], start)).caution, 'none')
    assert.deepEqual(told, [])
  })

  it('counts parts that were asked for by Range, from different senders and in any order', async () => {
    await handOut([[SECOND_HOLDER, 50]], 50)
    await handOut([[HOLDER, 20]], 0, false)
    await handOut([[undefined, 40]], 15, false)
    assert.equal((await begin()).caution, 'hash')
    assert.deepEqual(told[0]?.senders, [SECOND_HOLDER, HOLDER])
  })

  it('is suspect when a part of it is asked for again later; that part must come from elsewhere', async (test) => {
    test.mock.method(performance, 'now', () => now)
    await handOut([[HOLDER, 100]])
    now = 2 * SECOND
    assert.equal((await begin(70)).caution, 'elsewhere')
    assert.equal((await begin(0, false)).caution, 'elsewhere')
    assert.equal((await begin()).caution, 'hash')
    assert.deepEqual(reasons(), ['asked-again'])
  })

  describe('by ranges that end', () => {
    const KIB = 1024
    const BIG = 10 * PART + 100 * KIB
    /** One request by a closed range, answered whole by `HOLDER` in chunks. */
    const read = async (start: number, end: number, size = BIG) => {
      const out = await suspects.begin({ digest: DIGEST, repository: APP }, { start, end }, { signal })
      out.sized(size)
      for (let at = start; at < end; at += 64 * KIB) out.sent(HOLDER, Math.min(64 * KIB, end - at))
      out.end()
      return out.caution
    }
    const pull = async (size = BIG) => {
      const cautions: string[] = []
      for (let start = 0; start < size; start += PART)
        cautions.push(await read(start, Math.min(start + PART, size), size))
      return cautions
    }

    it('is suspect when it is pulled by parts again, though its last part is short', async () => {
      assert.deepEqual(new Set(await pull()), new Set(['none']))
      assert.deepEqual(new Set(await pull()), new Set(['elsewhere']))
      assert.deepEqual(reasons(), ['asked-again'])
      assert.deepEqual(told[0]?.senders, [HOLDER])
    })

    it('is suspect though the short part came first', async () => {
      await read(10 * PART, BIG)
      await read(0, 10 * PART)
      assert.equal(await read(0, PART), 'elsewhere')
    })

    it('is suspect though a part was broken off and its rest asked for', async () => {
      const part = await suspects.begin({ digest: DIGEST, repository: APP }, { start: 0, end: PART }, { signal })
      part.sized(BIG)
      part.sent(HOLDER, PART - 100 * KIB)
      part.end()
      assert.equal(await read(PART - 100 * KIB, PART), 'none')
      assert.equal(await read(PART, BIG), 'none')
      assert.equal(await read(0, PART), 'elsewhere')
    })

    it('is suspect when it is short and all of it is asked for again at once', async () => {
      const size = 300 * KIB
      assert.deepEqual(await pull(size), ['none'])
      assert.deepEqual(await pull(size), ['elsewhere'])
      assert.deepEqual(reasons(), ['asked-again'])
    })

    it('is suspect when it does not turn up in the store of the client that pulled it by parts', async (test) => {
      test.mock.timers.enable({ apis: ['setTimeout'] })
      await read(0, 10 * PART)
      const last = await suspects.begin({ digest: DIGEST, repository: APP }, { start: 10 * PART, end: BIG }, { signal })
      last.committing()
      last.sent(HOLDER, BIG - 10 * PART)
      last.end()
      test.mock.timers.tick(10 * SECOND)
      await settle()
      assert.deepEqual(reasons(), ['not-committed'])
    })

    it('is not suspect when a lazy client reads small parts of it again and again, all of it or after a pull', async (test) => {
      test.mock.method(performance, 'now', () => now)
      const lazily = async () => {
        // The footer first, as eStargz; then chunks.
        for (const start of [BIG - 50 * KIB, 0, 0, 3 * PART, BIG - 50 * KIB])
          assert.equal(await read(start, start + 50 * KIB), 'none')
        for (let start = 0; start < BIG; start += 50 * KIB)
          assert.equal(await read(start, Math.min(start + 50 * KIB, BIG)), 'none')
        now += 2 * SECOND
      }
      await lazily()
      await lazily()
      // What was read so is no pull: the first pull is no second one.
      assert.deepEqual(new Set(await pull()), new Set(['none']))
      now += 2 * SECOND
      await lazily()
      assert.deepEqual(told, [])
    })
  })

  it('is not suspect while another client still gets it', async () => {
    const slow = await begin()
    slow.sized(SIZE)
    slow.sent(HOLDER, 10)
    await handOut([[HOLDER, 100]])
    assert.equal((await begin()).caution, 'none')
    slow.end()
    assert.equal((await begin()).caution, 'none', 'the one that has just begun still runs')
  })

  it('is beyond suspicion when it is in the content store', async () => {
    await handOut([[HOLDER, 100]])
    suspects.confirmed(DIGEST)
    assert.equal((await begin()).caution, 'none')
    assert.deepEqual(told, [])
  })

  it('is beyond suspicion when the store holds it and has not said so, or shows it under another name only', async () => {
    await handOut([[HOLDER, 100]])
    store.put(BYTES)
    assert.equal((await begin()).caution, 'none')
    assert.deepEqual(told, [])
  })

  it('is suspect although the store cannot be read', async () => {
    store.open = async (): Promise<OpenBlob | undefined> => {
      throw new Error('the disk is broken')
    }
    await handOut([[HOLDER, 100]])
    assert.equal((await begin()).caution, 'hash')
  })

  it('is suspect once for each time that it was handed out', async () => {
    await handOut([[HOLDER, 100]])
    const again = await begin()
    again.end()
    const third = await begin()
    assert.equal(third.caution, 'hash', 'the second try was cancelled')
    third.end()
    assert.deepEqual(reasons(), ['asked-again'])
    await handOut([[SECOND_HOLDER, 100]])
    await begin()
    assert.deepEqual(reasons(), ['asked-again', 'asked-again'])
    assert.deepEqual(told[1]?.senders, [SECOND_HOLDER])
    assert.equal(suspects.avoids(DIGEST, HOLDER.peer), true)
  })

  it('is not suspect any more when it came with the right hash; only those who gave it are asked again', async () => {
    await handOut([
      [HOLDER, 60],
      [SECOND_HOLDER, 40],
    ])
    const again = await begin()
    suspects.verified(DIGEST, [SECOND_HOLDER])
    again.end()
    assert.equal(suspects.isSuspect(DIGEST), false)
    assert.equal(suspects.avoids(DIGEST, HOLDER.peer), true)
    assert.equal(suspects.avoids(DIGEST, SECOND_HOLDER.peer), false)
  })

  it('is suspect when it does not turn up in the store of its own client in time', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] })
    const out = await begin()
    out.sized(SIZE)
    out.committing()
    out.sent(HOLDER, 100)
    out.end()
    test.mock.timers.tick(9 * SECOND)
    await settle()
    assert.deepEqual(told, [])
    test.mock.timers.tick(1 * SECOND)
    await settle()
    assert.deepEqual(told, [
      { digest: DIGEST, repositories: [APP], reason: 'not-committed', isLikely: true, senders: [HOLDER] },
    ])
    assert.equal((await begin()).caution, 'hash')
    assert.deepEqual(reasons(), ['not-committed'])
  })

  it('is not missed while the answer that is written still runs', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] })
    const written = await begin()
    written.sized(SIZE)
    written.committing()
    written.sent(HOLDER, 50)
    const stranger = await begin(50)
    stranger.sent(HOLDER, 50)
    stranger.end()
    test.mock.timers.tick(MINUTE)
    await settle()
    assert.deepEqual(told, [])
    written.end()
    test.mock.timers.tick(10 * SECOND)
    await settle()
    assert.deepEqual(reasons(), ['not-committed'])
  })

  it('is not missed in a store that does not answer', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] })
    test.mock.method(AbortSignal, 'timeout', () => AbortSignal.abort())
    const out = await begin()
    out.sized(SIZE)
    out.committing()
    out.sent(HOLDER, 100)
    out.end()
    test.mock.timers.tick(MINUTE)
    await settle()
    assert.deepEqual(told, [])
  })

  it('is not missed in the store where the client is a stranger, nor when it has turned up, nor before its last byte', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] })
    await handOut([[HOLDER, 100]])
    test.mock.timers.tick(MINUTE)
    await settle()
    suspects.confirmed(DIGEST)

    const part = await begin()
    part.sized(SIZE)
    part.committing()
    part.sent(HOLDER, 99)
    test.mock.timers.tick(MINUTE)
    await settle()
    part.sent(HOLDER, 1)
    part.end()
    test.mock.timers.tick(5 * SECOND)
    await settle()
    suspects.confirmed(DIGEST)
    test.mock.timers.tick(MINUTE)
    await settle()

    const late = await begin()
    late.sized(SIZE)
    late.committing()
    suspects.confirmed(DIGEST)
    late.sent(HOLDER, 100)
    late.end()
    test.mock.timers.tick(MINUTE)
    await settle()
    assert.deepEqual(told, [])
  })

  it('is forgotten after ten minutes', async (test) => {
    test.mock.method(performance, 'now', () => now)
    await handOut([[HOLDER, 100]])
    ;(await begin()).end()
    assert.equal(suspects.avoids(DIGEST, HOLDER.peer), true)
    now = 9 * MINUTE
    assert.equal(suspects.isSuspect(DIGEST), true)
    now = 11 * MINUTE
    assert.equal(suspects.isSuspect(DIGEST), false)
    assert.equal(suspects.avoids(DIGEST, HOLDER.peer), false)
  })

  it('is forgotten first where there are too many', async () => {
    await handOut([[HOLDER, 100]])
    for (let i = 0; i < 10_000; i++) {
      const digest = digestOf(Buffer.from(String(i)))
      const out = await suspects.begin({ digest, repository: APP }, { start: 0, end: undefined }, { signal })
      out.end()
    }
    assert.equal((await begin()).caution, 'none')
  })

  describe('with a wrong hash', () => {
    it('is suspect, told and counted', async () => {
      suspects.wrong(DIGEST, [RELAY], { alone: true })
      assert.deepEqual(told, [{ digest: DIGEST, repositories: [], reason: 'wrong', isLikely: true, senders: [RELAY] }])
      assert.equal((await begin()).caution, 'hash')
    })

    it('makes its holder a caught one, if it sent all of it alone and passed nothing on', () => {
      suspects.wrong(DIGEST, [RELAY], { alone: true })
      suspects.wrong(DIGEST, [HOLDER, SECOND_HOLDER], { alone: false })
      suspects.wrong(DIGEST, [HOLDER], { alone: false })
      assert.equal(suspects.stats().caughtHolders, 0)
      suspects.wrong(DIGEST, [HOLDER], { alone: true })
      assert.equal(suspects.stats().caughtHolders, 1)
    })

    it('lets its holder be avoided although the right bytes came from elsewhere, and altogether after three blobs', async (test) => {
      test.mock.method(performance, 'now', () => now)
      const digests = ['x', 'y', 'z'].map((text) => digestOf(Buffer.from(text)))
      for (const digest of digests) {
        assert.equal(suspects.avoids(DIGEST, HOLDER.peer), false)
        suspects.wrong(digest, [HOLDER], { alone: true })
        suspects.wrong(digest, [HOLDER], { alone: true })
        suspects.confirmed(digest)
        assert.equal(suspects.avoids(digest, HOLDER.peer), true)
      }
      assert.equal(suspects.avoids(DIGEST, HOLDER.peer), true)
      assert.equal(suspects.avoids(DIGEST, SECOND_HOLDER.peer), false)
      now = 11 * MINUTE
      assert.equal(suspects.avoids(DIGEST, HOLDER.peer), false)
      assert.equal(suspects.avoids(digests[0] ?? DIGEST, HOLDER.peer), false)
    })
  })
})

/** Lets what a timer began run to its end. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}
