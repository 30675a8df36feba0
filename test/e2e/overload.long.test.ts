import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'

import { cpuGroupsUnavailable } from '../support/cpu-group.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { seededRandom } from '../swarm/simulation/random.ts'
import { Fleet } from './fleet.ts'
import { median, type OverloadReport, pauseInTurn, rollOut, Squeeze } from './overload.ts'

const unavailable = await clusterUnavailable()

const ROLLOUTS = 20
const MAX_MEDIAN = 1.05

describe('twenty rollouts of three images to three nodes', () => {
  it('that have little CPU time', { skip: unavailable ?? cpuGroupsUnavailable() ?? false }, async (t) => {
    await using squeeze = new Squeeze()
    await using fleet = await Fleet.start({ nodes: 3 })
    squeeze.begin(fleet, { cores: 0.3, programs: 2 })
    await assertFrugal(t, (name) => rollOut(fleet, name, { images: 3, megabytes: 40, squeeze }))
    t.diagnostic(`throttled ${squeeze.throttled} times`)
  })

  it('that are paused now and then', { skip: unavailable ?? false }, async (t) => {
    await using fleet = await Fleet.start({ nodes: 3, hub: { bytesPerSecond: 30_000_000 } })
    const random = seededRandom(1)
    const during = (signal: AbortSignal) => pauseInTurn(fleet, { longestMs: 4_500, random, signal })
    await assertFrugal(t, (name) => rollOut(fleet, name, { images: 3, megabytes: 100, during }))
  })
})

/** Asserts that the median rollout fetches little more than each blob once. */
async function assertFrugal(t: TestContext, roll: (name: string) => Promise<OverloadReport>): Promise<void> {
  const copies: number[] = []
  for (let number = 0; number < ROLLOUTS; number++) {
    const report = await roll(`r${number}`)
    copies.push(report.copies)
    t.diagnostic(`rollout ${number}: ${report.copies.toFixed(3)} copies in ${report.seconds.toFixed(1)} s`)
    for (const line of report.transfers) t.diagnostic(`  ${line}`)
  }
  t.diagnostic(`median ${median(copies).toFixed(3)}, worst ${Math.max(...copies).toFixed(3)}`)
  assert.ok(median(copies) <= MAX_MEDIAN, `the median rollout fetched ${median(copies)} copies`)
}
