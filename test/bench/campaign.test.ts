import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Campaign, type Listener, RigFailure, playAll } from '../../bench/compare/campaign.ts'
import { noMirror } from '../../bench/compare/contenders/none.ts'
import type { Run } from '../../bench/compare/results.ts'
import type { Performance } from '../../bench/compare/rig/perform.ts'
import { SCENARIOS } from '../../bench/compare/scenarios/all.ts'
import { parsePlan } from '../../bench/compare/settings.ts'

const contenders = ['x', 'y', 'z'].map((id) => ({ ...noMirror, id }))

function runOf({ scenario, contender, repeat }: Performance, wish: Partial<Run> = {}): Run {
  const named = { scenario: scenario.id, variant: 'all', contender: contender.id, repeat }
  return { ...named, images: [], nodes: [], wallSeconds: 1, ...wish }
}

function campaignOf(args: readonly string[], wish: Partial<Campaign> = {}): Campaign {
  const plan = parsePlan(['--images', '1x1', '--scenarios', 'b,c,e', ...args])
  const perform = (performance: Performance) => Promise.resolve([runOf(performance)])
  return { plan, scenarios: SCENARIOS, contenders, earlierRepeats: 0, perform, ...wish }
}

async function booked(campaign: Campaign, signal = new AbortController().signal) {
  const runs: Run[] = []
  const again: string[] = []
  const listener: Listener = {
    beginning: () => {},
    again: (why) => again.push(why),
    ended: (ended) => Promise.resolve(void runs.push(...ended)),
  }
  let error: unknown
  await playAll(campaign, listener, signal).catch((thrown: unknown) => {
    error = thrown
  })
  return { runs, again, error }
}

describe('the order of contenders', () => {
  const order = (runs: readonly Run[]) => runs.map(({ contender }) => contender).join('')

  it('begins with another one for each scenario and each repeat, also when there is one repeat', async () => {
    assert.equal(order((await booked(campaignOf(['--repeats', '1']))).runs), 'xyzyzxzxy')
    assert.equal(order((await booked(campaignOf(['--repeats', '2', '--scenarios', 'b']))).runs), 'xyzyzx')
  })

  it('goes on where earlier results ended, when new ones are added to them', async () => {
    const { runs } = await booked(campaignOf(['--repeats', '1', '--scenarios', 'b'], { earlierRepeats: 1 }))
    assert.equal(order(runs), 'yzx')
  })
})

describe('a failure of the benchmark itself', () => {
  it('is not booked when a second try works', async () => {
    let tries = 0
    const perform = (performance: Performance) =>
      Promise.resolve([runOf(performance, tries++ === 0 ? { rigFailure: 'hiccup' } : {})])
    const { runs, again, error } = await booked(campaignOf(['--repeats', '1'], { perform }))
    assert.equal(error, undefined)
    assert.deepEqual(again, ['hiccup'])
    assert.equal(runs.length, 9)
    assert.ok(runs.every(({ rigFailure }) => rigFailure === undefined))
  })

  it('ends everything after three runs in a row, which are booked', async () => {
    const broken = new Set(['by', 'cy', 'cz', 'cx'])
    const perform = (performance: Performance) => {
      const isBroken = broken.has(`${performance.scenario.id}${performance.contender.id}`)
      return Promise.resolve([runOf(performance, isBroken ? { rigFailure: 'no space' } : {})])
    }
    const { runs, error } = await booked(campaignOf(['--repeats', '1'], { perform }))
    assert.ok(error instanceof RigFailure)
    assert.match(error.message, /3 runs in a row.*no space/)
    assert.equal(runs.length, 6)
    assert.equal(runs.filter(({ rigFailure }) => rigFailure !== undefined).length, 4)
  })

  it('does not count what failed by the contender', async () => {
    const perform = (performance: Performance) => Promise.resolve([runOf(performance, { failure: 'crashed' })])
    const { runs, again, error } = await booked(campaignOf(['--repeats', '1'], { perform }))
    assert.deepEqual([runs.length, again.length, error], [9, 0, undefined])
  })
})

describe('an interrupt', () => {
  it('books nothing of the run that it broke, and tries nothing again', async () => {
    const interrupt = new AbortController()
    const perform = (performance: Performance) => {
      if (performance.contender.id === 'y') interrupt.abort()
      return Promise.resolve([runOf(performance, performance.contender.id === 'y' ? { rigFailure: 'gone' } : {})])
    }
    const { runs, again, error } = await booked(campaignOf(['--repeats', '1'], { perform }), interrupt.signal)
    assert.deepEqual([runs.length, again.length], [1, 0])
    assert.equal(error, interrupt.signal.reason)
  })
})
