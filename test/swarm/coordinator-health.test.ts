import assert from 'node:assert/strict'
import { beforeEach, describe, it, mock } from 'node:test'

import type { IndexKey } from '../../src/overlay/overlay.ts'
import { CoordinatorHealth } from '../../src/swarm/coordinator-health.ts'
import { SWARM_TIMINGS } from '../../src/swarm/swarm-options.ts'
import { FakeCluster } from '../support/fake-overlay.ts'

describe('a coordinator that was not scheduled for a moment', () => {
  const key = '00'.repeat(32) as IndexKey
  let time: number
  let health: CoordinatorHealth
  beforeEach(async (context) => {
    time = 100_000
    const clock = mock.method(performance, 'now', () => time)
    ;(context as { after(end: () => void): void }).after(() => clock.mock.restore())
    const cluster = new FakeCluster()
    const overlay = cluster.overlay()
    await overlay.start()
    await cluster.overlay().start()
    health = new CoordinatorHealth(overlay, { ...SWARM_TIMINGS, kadId: undefined })
  })

  it('listens before it grants', () => {
    assert.equal(health.isNew(key, 0), false)
    health.paused()
    assert.equal(health.isNew(key, 0), true)
    time += SWARM_TIMINGS.grace
    assert.equal(health.isNew(key, 0), false)
  })

  it('grants most of the time although it is paused each second', () => {
    let granted = 0
    for (let second = 0; second < 100; second++) {
      time += 1000
      health.paused()
      if (!health.isNew(key, 0)) granted++
    }
    assert.equal(granted, 80)
  })
})
