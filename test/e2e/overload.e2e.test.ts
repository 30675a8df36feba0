import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { cpuGroupsUnavailable } from '../support/cpu-group.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { seededRandom } from '../swarm/simulation/random.ts'
import { Fleet } from './fleet.ts'
import { pauseInTurn, rollOut, Squeeze } from './overload.ts'

const unavailable = await clusterUnavailable()

/** Far below what it takes to get each blob on each node from the hub, which is 3. */
const MAX_COPIES = 1.5

describe('three images that three nodes want at once', () => {
  it(
    'get to all nodes that have little CPU time',
    { skip: unavailable ?? cpuGroupsUnavailable() ?? false },
    async (t) => {
      await using squeeze = new Squeeze()
      await using fleet = await Fleet.start({ nodes: 3 })
      squeeze.begin(fleet, { cores: 0.4, programs: 1 })
      const report = await rollOut(fleet, 'squeezed', { images: 3, megabytes: 20, squeeze })
      t.diagnostic(
        `${report.copies.toFixed(3)} copies in ${report.seconds.toFixed(1)} s, throttled ${squeeze.throttled} times`,
      )
      t.diagnostic(report.transfers.join('\n'))
      assert.ok(report.copies <= MAX_COPIES, `${report.copies} copies`)
    },
  )

  it('get to all nodes that are paused now and then', { skip: unavailable ?? false }, async (t) => {
    await using fleet = await Fleet.start({ nodes: 3, hub: { bytesPerSecond: 15_000_000 } })
    const random = seededRandom(1)
    const during = (signal: AbortSignal) => pauseInTurn(fleet, { longestMs: 3_000, random, signal })
    const report = await rollOut(fleet, 'paused', { images: 3, megabytes: 30, during })
    t.diagnostic(`${report.copies.toFixed(3)} copies in ${report.seconds.toFixed(1)} s`)
    t.diagnostic(report.transfers.join('\n'))
    assert.ok(report.copies <= MAX_COPIES, `${report.copies} copies`)
  })
})
