import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { Standby } from '../../src/async/standby.ts'

describe('work on standby', () => {
  let runs: AbortSignal[]
  const { signal } = new AbortController()
  const work = async (given: AbortSignal) => {
    runs.push(given)
    return runs.length
  }

  beforeEach(() => {
    runs = []
    mock.timers.enable({ apis: ['setTimeout'] })
  })
  afterEach(() => mock.timers.reset())

  it('begins after its delay, and runs once', async () => {
    const standby = new Standby(work, { delay: 1000, signal })
    mock.timers.tick(999)
    assert.equal(runs.length, 0)
    mock.timers.tick(1)
    assert.equal(runs.length, 1)
    assert.equal(await standby.result(), 1)
    assert.equal(await standby.result(), 1)
  })

  it('begins at once when its result is needed', async () => {
    const standby = new Standby(work, { delay: 1000, signal })
    assert.equal(await standby.result(), 1)
    mock.timers.tick(1000)
    assert.equal(runs.length, 1)
  })

  it('does not begin, or is aborted, when no caller needs it', async () => {
    new Standby(work, { delay: 1000, signal }).cancel()
    mock.timers.tick(1000)
    assert.equal(runs.length, 0)
    const standby = new Standby(work, { delay: 0, signal })
    mock.timers.tick(0)
    standby.cancel()
    assert.equal(runs[0]?.aborted, true)
  })

  it('passes a failure on to the caller that needs the result, and to no other', async () => {
    const failing = () => Promise.reject(new Error('no'))
    const standby = new Standby(failing, { delay: 0, signal })
    mock.timers.tick(0)
    await new Promise((resolve) => setImmediate(resolve))
    await assert.rejects(standby.result(), /no/)
    const unwanted = new Standby(failing, { delay: 0, signal })
    mock.timers.tick(0)
    unwanted.cancel()
    await new Promise((resolve) => setImmediate(resolve))
  })
})
