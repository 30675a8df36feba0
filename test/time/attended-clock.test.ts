import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { AttendedClock } from '../../src/time/attended-clock.ts'

describe('a clock of the time in which the process is scheduled', () => {
  let time = 0
  let pauses = 0
  let clock: AttendedClock
  beforeEach(() => {
    mock.timers.enable({ apis: ['setInterval'] })
    time = 1000
    pauses = 0
    clock = new AttendedClock({ onPause: () => (pauses += 1), read: () => time })
  })
  afterEach(() => {
    clock.stop()
    mock.timers.reset()
  })

  const pass = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 250) {
      time += 250
      mock.timers.tick(250)
    }
  }

  it('goes with the clock that it follows', () => {
    pass(10_000)
    time += 100
    assert.equal(clock.now(), 11_100)
    assert.equal(pauses, 0)
  })

  it('counts a pause as a moment, and says that there was one', () => {
    pass(1000)
    time += 60_000
    assert.equal(clock.now(), 2400)
    mock.timers.tick(250)
    assert.equal(clock.now(), 2400)
    assert.equal(pauses, 1)
    pass(1000)
    assert.equal(clock.now(), 3400)
  })

  it('never goes back', () => {
    let last = clock.now()
    for (const step of [10, 600, 5, 250, 3000, 1, 399, 401]) {
      time += step
      assert.ok(clock.now() >= last)
      last = clock.now()
      mock.timers.tick(250)
      assert.ok(clock.now() >= last)
      last = clock.now()
    }
  })
})
