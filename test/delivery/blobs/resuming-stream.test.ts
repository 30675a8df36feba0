import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import * as fc from 'fast-check'

import {
  type BrokenSource,
  BrokenTransferError,
  ResumingStream,
  type SourceStream,
} from '../../../src/delivery/blobs/resuming-stream.ts'
import { noise } from '../../support/image-maker.ts'
import { eventually } from '../../support/poll.ts'

const STALL = 3000
const content = noise('resuming', 1000)

interface Behaviour {
  /** How many bytes it gives before it does what `ending` says. */
  readonly gives: number
  readonly ending: 'ends' | 'breaks' | 'stalls'
  readonly size?: number
  readonly piece?: number
}

interface TestSource extends SourceStream {
  cancelled: number
}

function sourceOf(name: string, position: number, behaviour: Behaviour, stall: number): TestSource {
  const { gives, ending, size = content.length, piece = 100 } = behaviour
  const end = Math.min(position + gives, content.length)
  let at = position
  const body = new Readable({
    highWaterMark: 1,
    read() {
      if (at < end) {
        const chunk = content.subarray(at, Math.min(at + piece, end))
        at += chunk.length
        this.push(chunk)
      } else if (ending === 'ends') this.push(null)
      else if (ending === 'breaks') this.destroy(new Error(`${name} broke`))
    },
  })
  body.on('error', () => {})
  const source: TestSource = {
    kind: name.startsWith('up') ? 'upstream' : 'peer',
    name,
    stall,
    size,
    body,
    cancelled: 0,
    cancel() {
      source.cancelled += 1
      body.destroy()
    },
  }
  return source
}

/** A transfer over sources that behave as told, one after the other. */
function transfer(
  behaviours: readonly Behaviour[],
  options: { start?: number; signal?: AbortSignal; stall?: number } = {},
) {
  const { start = 0, signal = new AbortController().signal, stall = STALL } = options
  const names = behaviours.map((_, i) => `p${i}`)
  const sources: TestSource[] = []
  const broken: (BrokenSource & { position: number })[] = []
  const open = (position: number) => {
    const behaviour = behaviours[sources.length]
    if (behaviour === undefined) return undefined
    const source = sourceOf(names[sources.length] ?? '', position, behaviour, stall)
    sources.push(source)
    return source
  }
  const first = open(start) ?? assert.fail()
  const stream = new ResumingStream({
    first,
    start,
    signal,
    reopen: async (position, one) => {
      broken.push({ ...one, position })
      return open(position)
    },
  })
  return { stream, sources, broken }
}

async function collect(chunks: AsyncIterable<Uint8Array>, into: Uint8Array[] = []): Promise<Buffer> {
  for await (const chunk of chunks) into.push(chunk)
  return Buffer.concat(into)
}

const turns = async (count = 5) => {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe('a blob from changing sources', () => {
  it('comes whole from one that is well', async () => {
    const { stream, sources, broken } = transfer([{ gives: 1000, ending: 'ends' }])
    assert.ok((await collect(stream.chunks(1000))).equals(content))
    assert.deepEqual(broken, [])
    assert.ok((sources[0]?.cancelled ?? 0) > 0)
    assert.deepEqual(stream.record.shares, [{ source: 'peer', peer: 'p0', bytes: 1000 }])
  })

  it('goes on at the same byte when sources break or end early', async () => {
    const { stream, broken, sources } = transfer([
      { gives: 250, ending: 'breaks' },
      { gives: 0, ending: 'ends' },
      { gives: 1, ending: 'ends' },
      { gives: 5000, ending: 'ends' },
    ])
    assert.ok((await collect(stream.chunks(1000))).equals(content))
    assert.deepEqual(
      broken.map(({ position, progressed, source }) => [source.name, position, progressed]),
      [
        ['p0', 250, true],
        ['p1', 250, false],
        ['p2', 251, true],
      ],
    )
    assert.match(String(broken[0]?.error), /p0 broke/)
    assert.ok(sources.every((source) => source.cancelled > 0))
    assert.deepEqual(
      stream.record.shares.map((share) => share.bytes),
      [250, 1, 749],
    )
  })

  it('is right for any spans and breaks', async () => {
    const behaviours = fc.array(
      fc.record({
        gives: fc.nat(400),
        ending: fc.constantFrom('ends' as const, 'breaks' as const),
        piece: fc.integer({ min: 1, max: 300 }),
      }),
      { minLength: 1, maxLength: 5 },
    )
    await fc.assert(
      fc.asyncProperty(behaviours, fc.nat(1000), fc.nat(1000), async (behaviours, a, b) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)]
        const { stream, sources } = transfer([...behaviours, { gives: 1000, ending: 'ends' }], { start })
        assert.ok((await collect(stream.chunks(end))).equals(content.subarray(start, end)))
        assert.equal(stream.record.bytes, end - start)
        for (const source of sources.slice(0, -1)) assert.ok(source.cancelled > 0)
      }),
      { numRuns: 100 },
    )
  })

  it('fails when no source is left, with what was wrong with the last', async () => {
    const { stream } = transfer([{ gives: 10, ending: 'breaks' }])
    const got: Uint8Array[] = []
    await assert.rejects(collect(stream.chunks(1000), got), (error: Error) => {
      assert.ok(error instanceof BrokenTransferError)
      assert.match(String(error.cause), /p0 broke/)
      return true
    })
    assert.ok(Buffer.concat(got).equals(content.subarray(0, 10)))
  })

  it('leaves a source that says another size, and tries the next', async () => {
    const { stream, sources, broken } = transfer([
      { gives: 100, ending: 'breaks' },
      { gives: 1000, ending: 'ends', size: 999 },
      { gives: 1000, ending: 'ends' },
    ])
    assert.ok((await collect(stream.chunks(1000))).equals(content))
    assert.match(String(broken[1]?.error), /p1 says 999 bytes where others said 1000/)
    assert.ok((sources[1]?.cancelled ?? 0) > 0)
  })

  it('lets go of its source when the reader leaves', async () => {
    const { stream, sources, broken } = transfer([{ gives: 1000, ending: 'ends' }])
    for await (const chunk of stream.chunks(1000)) {
      assert.ok(chunk.length > 0)
      break
    }
    assert.ok(sources[0]?.body instanceof Readable && sources[0].body.destroyed)
    assert.deepEqual(broken, [])
  })

  it('ends with its caller, without another source', async () => {
    const controller = new AbortController()
    const { stream, broken } = transfer(
      [
        { gives: 100, ending: 'stalls' },
        { gives: 1000, ending: 'ends' },
      ],
      { signal: controller.signal },
    )
    const reading = collect(stream.chunks(1000))
    await turns()
    controller.abort(new Error('gone'))
    stream.cancel()
    await assert.rejects(reading, /gone/)
    assert.deepEqual(broken, [])
  })
})

/** Real time, since the clock of the tests does not start a timer again that has fired. */
it('a source that falls silent is noticed after its reader was slow, too', async () => {
  const { stream, broken } = transfer(
    [
      { gives: 100, ending: 'stalls' },
      { gives: 1000, ending: 'ends' },
    ],
    { stall: 20 },
  )
  const chunks = stream.chunks(1000)
  const first = await chunks.next()
  const seen = performance.now()
  await eventually('the stall time has passed', () => performance.now() > seen + 60, { everyMs: 10 })
  const rest = await collect(chunks)
  assert.ok(Buffer.concat([first.value as Uint8Array, rest]).equals(content))
  assert.equal(broken.length, 1)
})

describe('a source that falls silent', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
  afterEach(() => mock.timers.reset())

  it('is left after its stall time', async () => {
    const { stream, broken, sources } = transfer([
      { gives: 300, ending: 'stalls' },
      { gives: 1000, ending: 'ends' },
    ])
    const reading = collect(stream.chunks(1000))
    await turns(20)
    mock.timers.tick(STALL - 1)
    await turns(20)
    assert.equal(sources.length, 1)
    mock.timers.tick(1)
    assert.ok((await reading).equals(content))
    assert.match(String(broken[0]?.error), /p0 sent nothing for 3000 ms/)
    assert.equal(broken[0]?.position, 300)
  })

  it('is not one whose reader is slow', async () => {
    const { stream, broken } = transfer([{ gives: 1000, ending: 'ends' }])
    const chunks = stream.chunks(1000)
    const got: Uint8Array[] = []
    for (;;) {
      const { done, value } = await chunks.next()
      if (done === true) break
      got.push(value)
      mock.timers.tick(10 * STALL)
      await turns()
    }
    assert.ok(Buffer.concat(got).equals(content))
    assert.deepEqual(broken, [])
  })
})
