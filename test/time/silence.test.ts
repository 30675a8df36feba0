import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Silence } from '../../src/time/silence.ts'

describe('a silence', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setInterval'] }))
  afterEach(() => mock.timers.reset())

  it('is over after its time', () => {
    let silences = 0
    const silence = new Silence(800, () => (silences += 1))
    mock.timers.tick(799)
    assert.equal(silences, 0)
    mock.timers.tick(1)
    assert.equal(silences, 1)
    silence.stop()
    mock.timers.tick(10_000)
    assert.equal(silences, 1)
  })

  it('begins anew with everything that is heard', () => {
    let silences = 0
    const silence = new Silence(800, () => (silences += 1))
    for (let i = 0; i < 10; i++) {
      mock.timers.tick(700)
      silence.heard()
    }
    assert.equal(silences, 0)
    silence.stop()
  })
})

describe('a silence of others while this process is paused', () => {
  it('is not held against them', async () => {
    let silences = 0
    const silence = new Silence(200, () => (silences += 1))
    await sleep(30)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
    // What came meanwhile is read in the next turn.
    await new Promise(setImmediate)
    silence.heard()
    assert.equal(silences, 0)
    silence.stop()
  })
})
