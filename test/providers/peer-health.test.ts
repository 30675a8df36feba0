import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { PeerHealth } from '../../src/providers/peer-health.ts'
import { minute } from '../../src/time/units.ts'

describe('the health of peers', () => {
  it('is bad from a failure until the peer recovers', () => {
    const health = new PeerHealth(minute)
    assert.equal(health.isFailing('a'), false)
    health.failed('a')
    assert.deepEqual([health.isFailing('a'), health.isFailing('b')], [true, false])
    health.recovered('a')
    assert.equal(health.isFailing('a'), false)
  })

  it('is good again when the failure is forgotten', async () => {
    const health = new PeerHealth(1)
    health.failed('a')
    await sleep(10)
    assert.equal(health.isFailing('a'), false)
  })

  it('forgets the peer that failed first at more peers than the limit', () => {
    const health = new PeerHealth(minute, 2)
    for (const id of ['a', 'b', 'a', 'c']) health.failed(id)
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => health.isFailing(id)),
      [true, false, true],
    )
  })
})
