import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { Coverage } from '../../../src/delivery/integrity/coverage.ts'

describe('coverage', () => {
  it('covers what was added, and nothing else', () => {
    const span = fc.record({ start: fc.nat(40), length: fc.nat(15) })
    const property = fc.property(fc.array(span, { maxLength: 12 }), span, (spans, asked) => {
      const coverage = new Coverage()
      const bytes = new Set<number>()
      for (const { start, length } of spans) {
        coverage.add({ start, end: start + length })
        for (let at = start; at < start + length; at++) bytes.add(at)
      }
      if (asked.length === 0) return
      const expected = Array.from({ length: asked.length }, (_, i) => bytes.has(asked.start + i)).every(Boolean)
      assert.equal(coverage.covers({ start: asked.start, end: asked.start + asked.length }), expected)
    })
    fc.assert(property, { numRuns: 500 })
  })

  it('covers nothing after it was cleared', () => {
    const coverage = new Coverage()
    coverage.add({ start: 0, end: 10 })
    coverage.clear()
    assert.equal(coverage.covers({ start: 0, end: 1 }), false)
  })

  it('notes a bounded number of parts, and goes on joining those', () => {
    const coverage = new Coverage()
    for (let i = 0; i < 100_000; i++) coverage.add({ start: 2 * i, end: 2 * i + 1 })
    assert.equal(coverage.covers({ start: 0, end: 1 }), true)
    assert.equal(coverage.covers({ start: 180_000, end: 180_001 }), false)
    coverage.add({ start: 0, end: 200_000 })
    assert.equal(coverage.covers({ start: 0, end: 200_000 }), true)
  })
})
