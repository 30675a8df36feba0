import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { ReplayWindow } from '../../src/authentication/replay-window.ts'

describe('a replay window', () => {
  it('accepts each counter once, in any order within 1,024', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 600 }), (counters) => {
        const window = new ReplayWindow()
        const seen = new Set<number>()
        for (const counter of counters) {
          const highest = Math.max(0, ...seen)
          const expected = !seen.has(counter) && counter > highest - 1_024
          assert.equal(window.accept(counter), expected, `${counter} after ${highest}`)
          if (expected) seen.add(counter)
          assert.equal(window.highest, Math.max(0, ...seen))
        }
      }),
    )
  })

  it('takes the largest counter that a message can carry', () => {
    const window = new ReplayWindow()
    assert.ok(window.accept(1))
    assert.ok(window.accept(Number.MAX_SAFE_INTEGER))
    assert.ok(!window.accept(Number.MAX_SAFE_INTEGER))
    assert.ok(window.accept(Number.MAX_SAFE_INTEGER - 1_023))
    assert.ok(!window.accept(2))
  })
})
