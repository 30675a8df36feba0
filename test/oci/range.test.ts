import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { OciError } from '../../src/oci/errors.ts'
import {
  MAX_RANGES,
  parseContentRange,
  parseRange,
  parseRanges,
  resolveRange,
  resolveRanges,
} from '../../src/oci/range.ts'

/** RFC 9110 14.1.2 said with an array: the offsets that a range means. */
function model(first: number | undefined, last: number | undefined, size: number): number[] {
  const all = Array.from({ length: size }, (_, offset) => offset)
  if (first === undefined) return last === undefined ? all : all.slice(Math.max(0, size - last))
  return all.filter((offset) => offset >= first && (last === undefined || offset <= last))
}

const offset = fc.option(fc.nat(60), { nil: undefined })

describe('a Range header', () => {
  it('means the bytes that the model means', () => {
    fc.assert(
      fc.property(offset, offset, fc.nat(50), (first, last, size) => {
        const span = resolveRange(parseRange(`bytes=${first ?? ''}-${last ?? ''}`), size)
        const isWhole =
          (first === undefined && last === undefined) || (first !== undefined && last !== undefined && last < first)
        const expected = isWhole ? model(undefined, undefined, size) : model(first, last, size)
        if (span === undefined) {
          assert.ok(!isWhole)
          assert.deepEqual(expected, [])
          return
        }
        assert.ok(span.start <= span.end && span.end <= size)
        assert.equal(span.end - span.start, expected.length)
        if (expected.length > 0) assert.equal(span.start, expected[0])
      }),
      { numRuns: 2000 },
    )
  })

  it('asks for the whole if it is nothing that can be served', () => {
    for (const text of [
      undefined,
      '',
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=5-3',
      'bytes=0-1,4-5',
      'bytes=0-1-2',
      'bytes=+1-2',
      'bytes=1.5-2',
      'bytes=0x1-2',
      'items=0-1',
      'bytes 0-1/2',
      'bytes=--1',
      'bytes=٣-٤',
    ]) {
      assert.deepEqual(parseRange(text), { type: 'whole' }, text ?? 'none')
    }
  })

  it('may have offsets beyond what a number can say exactly', () => {
    const huge = '9'.repeat(400)
    assert.equal(resolveRange(parseRange(`bytes=${huge}-`), 10), undefined)
    assert.deepEqual(resolveRange(parseRange(`bytes=0-${huge}`), 10), { start: 0, end: 10 })
    assert.deepEqual(resolveRange(parseRange(`bytes=-${huge}`), 10), { start: 0, end: 10 })
  })

  it('never makes an impossible span, whatever it says', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `bytes=${text}`),
        ),
        fc.nat(),
        (text, size) => {
          const span = resolveRange(parseRange(text), size)
          if (span === undefined) return
          assert.ok(Number.isSafeInteger(span.start) && Number.isSafeInteger(span.end))
          assert.ok(span.start >= 0 && span.start <= span.end && span.end <= size)
        },
      ),
    )
  })

  it('is unsatisfiable on an empty blob, which is served whole', () => {
    assert.deepEqual(resolveRange(parseRange('bytes=0-'), 0), { start: 0, end: 0 })
    assert.equal(resolveRange(parseRange('bytes=1-'), 0), undefined)
    assert.equal(resolveRange(parseRange('bytes=-1'), 0), undefined)
    assert.equal(resolveRange(parseRange('bytes=-0'), 5), undefined)
    assert.deepEqual(resolveRange(parseRange(undefined), 0), { start: 0, end: 0 })
  })
})

describe('a Range header with several ranges', () => {
  const spansOf = (header: string, size: number) => {
    const ranges = parseRanges(header)
    assert.ok(ranges.type === 'several', header)
    return resolveRanges(ranges, size).map(({ start, end }) => [start, end])
  }
  const statusOf = (work: () => unknown) => {
    try {
      work()
    } catch (error) {
      return error instanceof OciError ? error.status : undefined
    }
    return undefined
  }

  it('means those that are satisfiable, in their order', () => {
    for (const [header, spans] of [
      [
        'bytes=0-1,4-5',
        [
          [0, 2],
          [4, 6],
        ],
      ],
      [
        'bytes=8-, 0-0 ,,-1',
        [
          [8, 10],
          [0, 1],
          [9, 10],
        ],
      ],
      ['bytes=10-,3-99', [[3, 10]]],
      ['bytes=0-9,-0', [[0, 10]]],
    ] as const)
      assert.deepEqual(spansOf(header, 10), spans, header)
  })

  it('is one range, or none, where it lists one or none', () => {
    assert.deepEqual(parseRanges('bytes=,1-2,'), { type: 'from', start: 1, end: 2 })
    for (const header of ['bytes=,', 'bytes=0-1,x', 'bytes=0-1,5-4', 'bytes=0-1;2-3', 'items=0-1,2-3'])
      assert.deepEqual(parseRanges(header), { type: 'whole' }, header)
  })

  it('is refused by 416 if none is satisfiable, by 400 if it asks for too much', () => {
    assert.equal(
      statusOf(() => spansOf('bytes=10-,11-12', 10)),
      416,
    )
    assert.equal(
      statusOf(() => spansOf('bytes=0-,-1', 0)),
      416,
    )
    assert.equal(
      statusOf(() => spansOf('bytes=0-,9-', 10)),
      400,
    )
    const many = (count: number) => `bytes=${Array.from({ length: count }, () => '0-0').join()}`
    assert.equal(spansOf(many(MAX_RANGES), MAX_RANGES).length, MAX_RANGES)
    assert.equal(
      statusOf(() => parseRanges(many(MAX_RANGES + 1))),
      400,
    )
  })
})

describe('a Content-Range header', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (start, length, after) => {
        const [end, size] = [start + length + 1, start + length + 1 + after]
        assert.deepEqual(parseContentRange(`bytes ${start}-${end - 1}/${size}`), { start, end, size })
      }),
    )
  })

  it('is refused if anything is missing or contradicts itself', () => {
    for (const text of [
      undefined,
      '',
      'bytes */10',
      'bytes 0-9/*',
      'bytes 0-9',
      'bytes 5-4/10',
      'bytes 0-10/10',
      'bytes 0-9/10 ',
      'bytes=0-9/10',
      'bytes -9/10',
      `bytes 0-${'9'.repeat(30)}/${'9'.repeat(30)}`,
    ]) {
      assert.equal(parseContentRange(text), undefined, text ?? 'none')
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        const span = parseContentRange(text)
        assert.ok(span === undefined || (span.start < span.end && span.end <= span.size))
      }),
    )
  })
})
