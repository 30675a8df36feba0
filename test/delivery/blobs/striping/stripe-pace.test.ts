import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { StripePace } from '../../../../src/delivery/blobs/striping/stripe-pace.ts'

const MB = 1e6

/** Lets `seconds` pass with a total of `rate(width)` bytes a second and the client waiting for a part of the time. */
function transfer(max: number, rate: (width: number) => number, waiting = 1) {
  let now = 0
  const pace = new StripePace(() => now)
  const widths: number[] = [1]
  const run = (seconds: number) => {
    for (let tick = 0; tick < seconds * 100; tick += 1) {
      pace.arrived(rate(pace.width) / 100)
      pace.waited(10 * waiting)
      now += 10
      const width = pace.decide(max)
      if (width !== widths.at(-1)) widths.push(width)
    }
  }
  return { run, widths }
}

describe('the number of holders that give at the same time', () => {
  it('grows while the total does, up to all there are', () => {
    const { run, widths } = transfer(4, (width) => width * 20 * MB)
    run(8)
    assert.deepEqual(widths, [1, 2, 3, 4])
  })

  it('goes back to one when that fills the link, and is tried again seldom', () => {
    const { run, widths } = transfer(4, () => 100 * MB)
    run(5)
    assert.deepEqual(widths, [1, 2, 1])
    run(60)
    assert.deepEqual(widths, [1, 2, 1, 2, 1, 2, 1])
  })

  it('stops growing where the link is full', () => {
    const { run, widths } = transfer(4, (width) => Math.min(width * 40, 85) * MB)
    run(8)
    assert.deepEqual(widths, [1, 2, 3, 2])
  })

  it('stays one while the client is what takes the time', () => {
    const { run, widths } = transfer(4, () => 20 * MB, 0.2)
    run(30)
    assert.deepEqual(widths, [1])
  })

  it('shrinks with the holders that are left', () => {
    let now = 0
    const pace = new StripePace(() => now)
    pace.arrived(1)
    pace.waited(1000)
    now = 1000
    assert.equal(pace.decide(4), 2)
    assert.equal(pace.decide(1), 1)
    now = 1100
    assert.equal(pace.decide(4), 1)
  })
})
