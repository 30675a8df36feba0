import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { CircuitBreaker } from '../../../src/upstream/registry/circuit-breaker.ts'
import { UpstreamError } from '../../../src/upstream/upstream.ts'

describe('a circuit breaker', () => {
  let now: number
  let changes: boolean[]
  let breaker: CircuitBreaker
  const down = new UpstreamError('unreachable', 'down')

  beforeEach(() => {
    now = 0
    changes = []
    breaker = new CircuitBreaker(
      ({ isOpen }) => changes.push(isOpen),
      () => now,
    )
  })

  const SENT = { wasSent: true }
  const UNSENT = { wasSent: false }
  const admit = () => breaker.admit() ?? assert.fail('the address is left alone')
  const fail = (times: number, failure = down) => {
    for (let count = 0; count < times; count += 1) admit().failed(failure, SENT)
  }

  it('opens after failures in a row, and only then', () => {
    fail(2)
    breaker.admit()?.answered()
    fail(2)
    assert.equal(breaker.state, 'closed')
    fail(1)
    assert.equal(breaker.state, 'open')
    assert.equal(breaker.admit(), undefined)
    assert.equal(breaker.failure, down)
    assert.deepEqual(changes, [true])
  })

  it('tries with one request after a pause that doubles up to half a minute, and says so once', () => {
    fail(3)
    for (const pause of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      assert.equal(breaker.remaining, pause)
      now += pause
      assert.equal(breaker.state, 'half-open')
      const trial = breaker.admit()
      assert.ok(trial)
      assert.equal(breaker.admit(), undefined)
      trial.failed(down, SENT)
    }
    now += 30_000
    breaker.admit()?.answered()
    assert.equal(breaker.state, 'closed')
    assert.deepEqual(changes, [true, false])
    fail(3)
    assert.equal(breaker.remaining, 1000)
  })

  it('has another request try when nobody waited for the trial', () => {
    fail(3)
    now += 1000
    breaker.admit()?.abandoned()
    const trial = breaker.admit()
    assert.ok(trial)
    trial.answered()
    // It has ended already.
    trial.failed(down, SENT)
    assert.equal(breaker.state, 'closed')
  })

  it('is not kept open for longer by those who were under way', () => {
    const underWay = Array.from({ length: 20 }, admit)
    for (const admission of underWay) admission.failed(down, UNSENT)
    assert.equal(breaker.remaining, 1000)
  })

  it('opens at once for as long as the address wants to be left alone', () => {
    const underWay = breaker.admit()
    fail(1, new UpstreamError('limited', 'slow down', { retryAfter: 60_000 }))
    assert.equal(breaker.remaining, 60_000)
    underWay?.answered()
    assert.equal(breaker.state, 'open')
    now += 60_000
    assert.equal(breaker.state, 'half-open')
    fail(1)
    assert.equal(breaker.remaining, 2000)
    assert.deepEqual(changes, [true])
  })

  it('opens for a burst of requests without a connection, and closes as soon as one is answered', () => {
    const burst = Array.from({ length: 11 }, admit)
    const slow = admit()
    for (const admission of burst.slice(0, 2)) admission.failed(down, UNSENT)
    assert.equal(breaker.state, 'closed')
    for (const admission of burst.slice(2)) admission.failed(down, UNSENT)
    assert.equal(breaker.state, 'open')
    slow.answered()
    assert.equal(breaker.state, 'closed')
    assert.deepEqual(changes, [true, false])
  })

  it('counts no failure of a request during which the address answered another one', () => {
    const burst = Array.from({ length: 11 }, admit)
    admit().answered()
    for (const admission of burst) admission.failed(down, UNSENT)
    fail(2)
    assert.equal(breaker.state, 'closed')
    fail(1)
    assert.equal(breaker.state, 'open')
  })

  it('takes a burst of late answers for one failure, since a slow address is in use', () => {
    for (let round = 0; round < 5; round += 1) {
      const burst = Array.from({ length: 11 }, admit)
      for (const admission of burst) admission.failed(down, SENT)
      const next = admit()
      for (const admission of burst) admission.answered()
      next.failed(down, SENT)
    }
    assert.deepEqual(changes, [])
  })

  it('opens for an address that takes requests and never answers, one after the other', () => {
    for (let round = 0; round < 3; round += 1) {
      assert.equal(breaker.state, 'closed')
      const burst = Array.from({ length: 11 }, admit)
      for (const admission of burst) admission.failed(down, SENT)
    }
    assert.equal(breaker.state, 'open')
  })

  it('pauses for twice as long as a failure kept its client waiting', () => {
    const wait = () => {
      const admission = admit()
      now += 3000
      admission.failed(down, UNSENT)
    }
    for (let count = 0; count < 3; count += 1) wait()
    for (const pause of [6000, 12_000, 24_000, 30_000]) {
      assert.equal(breaker.remaining, pause)
      now += pause
      wait()
    }
  })

  it('tries again although the trial still waits, and is in use once that is answered', () => {
    fail(3)
    now += 1000
    const trial = admit()
    now += 3000
    trial.failed(down, SENT)
    assert.equal(breaker.admit(), undefined)
    now += breaker.remaining
    const next = admit()
    trial.answered()
    assert.equal(breaker.state, 'closed')
    next.failed(down, SENT)
    assert.equal(breaker.state, 'closed')
  })

  it('heeds a Retry-After that comes late', () => {
    const late = admit()
    late.failed(down, SENT)
    late.failed(new UpstreamError('limited', 'slow down', { retryAfter: 60_000 }), SENT)
    assert.equal(breaker.remaining, 60_000)
  })
})
