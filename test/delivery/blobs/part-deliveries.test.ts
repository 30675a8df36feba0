import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { BlobDelivery } from '../../../src/delivery/blobs/blob-delivery.ts'
import { type PartsDelivery, openParts } from '../../../src/delivery/blobs/part-deliveries.ts'
import { planRuns } from '../../../src/delivery/blobs/part-runs.ts'
import { TransferRecord } from '../../../src/delivery/blobs/transfer-record.ts'
import { OciError } from '../../../src/oci/errors.ts'
import type { ByteSpan } from '../../../src/oci/range.ts'

const BYTES = Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => at % 251))
const signal = new AbortController().signal
const CHUNK = 1000

describe('parts of a blob from elsewhere', () => {
  /** Sources that note what is opened and closed. `fails`: the opening, by number, that fails. */
  const sources = ({ fails, size = BYTES.length }: { fails?: number; size?: number } = {}) => {
    const opened: ByteSpan[] = []
    const closed: ByteSpan[] = []
    const open = async ({ start, end }: ByteSpan): Promise<BlobDelivery> => {
      const span = { start, end }
      opened.push(span)
      if (opened.length - 1 === fails) throw new OciError('BLOB_UNKNOWN')
      const record = new TransferRecord()
      async function* chunks() {
        for (let at = start; at < end; at += CHUNK) {
          const chunk = BYTES.subarray(at, Math.min(at + CHUNK, end))
          record.add('upstream', undefined, chunk.length)
          yield chunk
        }
      }
      const close = async () => void (closed.includes(span) || closed.push(span))
      return { type: 'stream', size, span, record, origin: { source: 'upstream' }, chunks, close }
    }
    return { open, opened, closed }
  }
  const readAll = async (delivery: PartsDelivery) => {
    const parts: Buffer[] = []
    for await (const part of delivery.contents()) {
      assert.ok(part.type === 'stream')
      const chunks: Uint8Array[] = []
      for await (const chunk of part.chunks) chunks.push(chunk)
      parts.push(Buffer.concat(chunks))
    }
    return parts
  }
  const at = (...starts: number[]) => starts.map((start) => ({ start, end: start + 1500 }))

  it('are cut out of as few requests as their places allow, in their order', async () => {
    const { open, opened, closed } = sources()
    const spans = at(500, 2000, 60_000, 300_000, 200_000, 10)
    const delivery = await openParts(planRuns({ size: BYTES.length, spans }), open, signal)
    assert.deepEqual(
      await readAll(delivery),
      spans.map(({ start, end }) => BYTES.subarray(start, end)),
    )
    await delivery.close()
    assert.deepEqual(opened, [{ start: 500, end: 61_500 }, ...at(300_000, 200_000, 10)])
    assert.equal(closed.length, opened.length)
    assert.deepEqual(delivery.record.shares, [{ source: 'upstream', bytes: 6 * 1500 }])
  })

  it('are read once where they are equal, overlap or go back, and come in the order of the request', async () => {
    const cases: [spans: ByteSpan[], runs: ByteSpan[]][] = [
      [Array.from({ length: 1024 }, () => ({ start: 0, end: 1 })), [{ start: 0, end: 1 }]],
      [at(1000, 0, 500, 2400, 0), [{ start: 0, end: 3900 }]],
      [
        at(60_000, 500, 400_000, 399_000),
        [
          { start: 500, end: 61_500 },
          { start: 399_000, end: 401_500 },
        ],
      ],
      // What goes back is kept in memory, so it is not much; what goes on is not kept.
      [
        [{ start: 0, end: 300_000 }, ...at(0, 310_000)],
        [{ start: 0, end: 300_000 }, ...at(0, 310_000)],
      ],
      [
        [...at(500, 0), { start: 2000, end: 500_000 }],
        [
          { start: 0, end: 2000 },
          { start: 2000, end: 500_000 },
        ],
      ],
    ]
    for (const [spans, runs] of cases) {
      const { open, opened, closed } = sources()
      const delivery = await openParts(planRuns({ size: BYTES.length, spans }), open, signal)
      assert.deepEqual(
        await readAll(delivery),
        spans.map(({ start, end }) => BYTES.subarray(start, end)),
      )
      await delivery.close()
      assert.deepEqual(opened, runs)
      assert.equal(closed.length, opened.length)
      assert.equal(
        delivery.record.shares[0]?.bytes,
        spans.reduce((sum, { start, end }) => sum + end - start, 0),
      )
    }
  })

  it('are refused with 400 if they need more than 64 requests', () => {
    const size = 100_000_000
    const apart = (count: number) => at(...Array.from({ length: count }, (_, index) => index * 100_000))
    assert.equal(planRuns({ size, spans: apart(64) }).runs.length, 64)
    const toAndFro = Array.from({ length: 33 }, () => at(0, 500_000)).flat()
    for (const spans of [apart(65), toAndFro])
      assert.throws(
        () => planRuns({ size, spans }),
        (error) => error instanceof OciError && error.status === 400,
      )
  })

  it('are opened four at a time, the first one alone', async () => {
    const { open, opened, closed } = sources()
    const spans = at(0, 100_000, 200_000, 300_000, 400_000, 500_000)
    const delivery = await openParts(planRuns({ size: BYTES.length, spans }), open, signal)
    assert.equal(opened.length, 1)
    const parts = delivery.contents()[Symbol.asyncIterator]()
    await parts.next()
    assert.equal(opened.length, 4)
    await parts.next()
    assert.equal(opened.length, 5)
    await delivery.close()
    await parts.return?.()
    assert.equal(closed.length, 5)
    assert.equal(opened.length, 5)
  })

  it('are refused where the first one is, and break off where a later one is', async () => {
    for (const fails of [0, 2]) {
      const { open, opened, closed } = sources({ fails })
      const spans = at(0, 100_000, 200_000)
      const reading = async () => {
        const delivery = await openParts(planRuns({ size: BYTES.length, spans }), open, signal)
        try {
          await readAll(delivery)
        } finally {
          await delivery.close()
        }
      }
      await assert.rejects(reading(), OciError)
      assert.equal(closed.length, opened.length - 1)
    }
  })

  it('are refused by a source that says another size', async () => {
    const { open, closed } = sources({ size: 5 })
    await assert.rejects(openParts(planRuns({ size: BYTES.length, spans: at(0) }), open, signal), OciError)
    assert.equal(closed.length, 1)
  })
})
