import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { type Holder, Holders } from '../../../../src/delivery/blobs/striping/holders.ts'
import { NoHolderLeftError, PIECE_BYTES, PieceWindow } from '../../../../src/delivery/blobs/striping/piece-window.ts'
import { StripedSource } from '../../../../src/delivery/blobs/striped-source.ts'
import { noise } from '../../../support/image-maker.ts'

const MiB = 1024 * 1024
const WINDOW = 16 * MiB
const blob = noise('window', 48 * MiB)

type Fault = 'none' | 'busy' | 'breaks' | 'ends early' | 'sends too much' | 'stalls' | 'never opens'

interface Behaviour {
  readonly fault: Fault
  /** The fault shows after so many bytes of the answer, from this request on. */
  readonly after: number
  readonly fromRequest: number
  readonly chunk: number
  /** Turns of the event loop for each chunk. */
  readonly turns: number
}

const WELL: Behaviour = { fault: 'none', after: 0, fromRequest: 0, chunk: 256 * 1024, turns: 2 }
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

class MemoryHolder implements Holder {
  readonly name: string
  readonly spans: { start: number; end: number }[] = []
  given = 0
  open = (start: number, end: number, { signal }: { signal: AbortSignal }) => this.#open(start, end, signal)
  readonly #behaviour: Behaviour

  constructor(name: string, behaviour: Partial<Behaviour> = {}) {
    this.name = name
    this.#behaviour = { ...WELL, ...behaviour }
  }

  async #open(start: number, end: number, signal: AbortSignal) {
    this.spans.push({ start, end })
    const { fault, fromRequest } = this.#behaviour
    const isFaulty = this.spans.length > fromRequest
    if (isFaulty && fault === 'busy') throw new Error('busy')
    if (isFaulty && fault === 'never opens') await new Promise((_, reject) => signal.addEventListener('abort', reject))
    const cancelled = Promise.withResolvers<never>()
    cancelled.promise.catch(() => {})
    const body = this.#body(start, end, isFaulty ? fault : 'none', cancelled.promise)
    return { body, cancel: () => cancelled.reject(new Error('cancelled')) }
  }

  async *#body(start: number, end: number, fault: Fault, cancelled: Promise<never>): AsyncGenerator<Uint8Array> {
    const { after, chunk, turns } = this.#behaviour
    const stop = fault === 'none' || fault === 'sends too much' ? end : Math.min(end, start + after)
    for (let at = start; at < stop; at += chunk) {
      for (let i = 0; i < turns; i += 1) await Promise.race([turn(), cancelled])
      const part = blob.subarray(at, Math.min(at + chunk, stop))
      this.given += part.length
      yield part
    }
    if (fault === 'breaks') throw new Error('broke')
    if (fault === 'stalls' && stop < end) await cancelled
    if (fault === 'sends too much') yield blob.subarray(0, 10)
  }
}

function windowOf(holders: readonly Holder[], span = { start: 0, end: blob.length }) {
  const left: Holder[] = []
  let arrived = 0
  const window = new PieceWindow({
    span,
    holders: new Holders(holders, (holder) => left.push(holder)),
    width: holders.length,
    stall: 500,
    arrived: (bytes) => {
      arrived += bytes
    },
    now: () => performance.now(),
  })
  return { window, left, arrived: () => arrived }
}

const faulty = fc.record({
  fault: fc.constantFrom<Fault>('busy', 'breaks', 'ends early', 'sends too much', 'stalls', 'never opens'),
  after: fc.nat(3 * MiB),
  fromRequest: fc.nat(3),
  chunk: fc.integer({ min: 10_000, max: MiB }),
  turns: fc.nat(4),
})

describe('a window of pieces', () => {
  it('gives the right bytes in order whatever the faults, as long as one holder is well', async () => {
    const spans = fc.tuple(fc.nat(3 * MiB), fc.integer({ min: 6 * MiB, max: 16 * MiB }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(faulty, { minLength: 1, maxLength: 3, size: 'max' }),
        fc.nat(3),
        spans,
        async (behaviours, place, [start, end]) => {
          const holders = behaviours.map((behaviour, i) => new MemoryHolder(`bad ${i}`, behaviour))
          const well = new MemoryHolder('well')
          holders.splice(Math.min(place, holders.length), 0, well)
          const span = { start, end }
          const { window, left } = windowOf(holders, span)
          let position = span.start
          for await (const { chunk } of window.chunks()) {
            assert.equal(Buffer.compare(chunk, blob.subarray(position, position + chunk.length)), 0)
            position += chunk.length
          }
          assert.equal(position, span.end)
          assert.ok(!left.includes(well))
          window.close(new Error('done'))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('names who sent each chunk', async () => {
    const holders = [new MemoryHolder('a'), new MemoryHolder('b', { turns: 3 })]
    const { window } = windowOf(holders, { start: 0, end: 12 * MiB })
    const bytes = new Map<string, number>()
    for await (const { chunk, from } of window.chunks()) bytes.set(from, (bytes.get(from) ?? 0) + chunk.length)
    assert.equal((bytes.get('a') ?? 0) + (bytes.get('b') ?? 0), 12 * MiB)
    for (const holder of holders) assert.ok((bytes.get(holder.name) ?? 0) <= holder.given)
  })

  it('asks for nothing beyond its bound while the reader does not read', async () => {
    const holders = ['a', 'b', 'c', 'd'].map((name) => new MemoryHolder(name))
    const { window, arrived } = windowOf(holders)
    const given = () => holders.reduce((sum, holder) => sum + holder.given, 0)
    let read = 0
    for await (const { chunk } of window.chunks()) {
      read += chunk.length
      for (let i = 0; i < 20; i += 1) await turn()
      assert.ok(given() - read <= WINDOW, `${given() - read} bytes are ahead of the reader`)
      assert.ok(window.next - read <= WINDOW)
    }
    assert.equal(read, blob.length)
    assert.equal(arrived(), blob.length)
  })

  it('stops when it drains, at a byte where another can go on', async () => {
    const holders = [new MemoryHolder('a'), new MemoryHolder('b')]
    const { window } = windowOf(holders)
    let read = 0
    for await (const { chunk } of window.chunks()) {
      read += chunk.length
      if (read > 5 * MiB) window.drain()
    }
    assert.equal(read, window.next)
    assert.ok(read < blob.length && read % PIECE_BYTES === 0)
  })

  it('fails when nobody is left', async () => {
    const { window, left } = windowOf([
      new MemoryHolder('a', { fault: 'breaks', after: 100_000 }),
      new MemoryHolder('b', { fault: 'busy' }),
    ])
    await assert.rejects(async () => {
      for await (const { chunk } of window.chunks()) assert.ok(chunk.length > 0)
    }, NoHolderLeftError)
    assert.equal(left.length, 2)
  })
})

describe('one transfer, alone and together', () => {
  /** A clock that runs fast, so that every decision falls within one blob. */
  const fastClock = () => {
    let now = 0
    return () => (now += 3)
  }

  it('gives the right bytes whatever the faults, as long as one holder is well', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(faulty, { minLength: 1, maxLength: 3, size: 'max' }),
        fc.nat(3),
        fc.nat(MiB),
        async (behaviours, place, start) => {
          const holders = behaviours.map((behaviour, i) => new MemoryHolder(`bad ${i}`, behaviour))
          holders.splice(Math.min(place, holders.length), 0, new MemoryHolder('well'))
          const left: Holder[] = []
          const source = new StripedSource({
            span: { start, end: blob.length },
            holders,
            stall: 500,
            now: fastClock(),
            onLeft: (holder) => left.push(holder),
          })
          let position = start
          for await (const chunk of source.body) {
            assert.equal(Buffer.compare(chunk, blob.subarray(position, position + chunk.length)), 0)
            assert.ok(holders.some(({ name }) => name === source.sender()))
            position += chunk.length
          }
          assert.equal(position, blob.length)
          assert.ok(left.every(({ name }) => name !== 'well'))
        },
      ),
      { numRuns: 30 },
    )
  })

  it('reads no further than its client while one gives alone', async () => {
    const [first, second] = [new MemoryHolder('a'), new MemoryHolder('b')]
    // Time stands still: no decision is made.
    const source = new StripedSource({
      span: { start: 0, end: blob.length },
      holders: [first, second],
      stall: 1000,
      now: () => 0,
      onLeft: () => assert.fail(),
    })
    let read = 0
    for await (const chunk of source.body) {
      read += chunk.length
      await turn()
      assert.ok(first.given - read <= MiB)
    }
    assert.deepEqual([first.spans, second.spans], [[{ start: 0, end: blob.length }], []])
  })

  it('begins with an answer that is open already', async () => {
    const holder = new MemoryHolder('a')
    const opened = await holder.open(5, blob.length, { signal: new AbortController().signal })
    const source = new StripedSource({
      span: { start: 5, end: blob.length },
      holders: [holder],
      opened,
      stall: 1000,
      onLeft: () => assert.fail(),
    })
    let position = 5
    for await (const chunk of source.body) position += chunk.length
    assert.equal(position, blob.length)
    assert.equal(holder.spans.length, 1)
  })
})
