import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { array, assert as check, double, property } from 'fast-check'
import type { Run } from '../../bench/compare/results.ts'
import {
  copiesFromUpstream,
  countedPulls,
  isComplete,
  killScenario,
  medianPullSeconds,
  quantile,
  ratios,
  spread,
  wallSeconds,
} from '../../bench/compare/stats.ts'

function run(wish: Partial<Run> = {}, seconds = [1, 2, 3]): Run {
  const nodes = seconds.map((one, index) => ({
    name: `n${index + 1}`,
    pulls: [{ image: 'app:1', at: 0, seconds: one, ok: true }],
  }))
  const images = [{ name: 'app:1', bytes: 1000, layers: 2 }]
  return { scenario: 'b', variant: '1 kB', contender: 'nabo', repeat: 0, images, nodes, wallSeconds: 4, ...wish }
}

describe('quantiles', () => {
  it('are those of R and NumPy', () => {
    const values = [1, 2, 3, 4, 10]
    assert.deepEqual(
      [0, 0.25, 0.5, 0.75, 1].map((q) => quantile(values, q)),
      [1, 2, 3, 4, 10],
    )
    assert.ok(Math.abs(quantile(values, 0.95) - 8.8) < 1e-9)
    assert.equal(quantile([1, 2], 0.5), 1.5)
    assert.equal(quantile([7], 0.95), 7)
    assert.ok(Number.isNaN(quantile([], 0.5)))
  })

  it('lie in order between the extremes, whatever the values and their order', () => {
    const value = double({ min: 0, max: 1e6, noNaN: true })
    check(
      property(array(value, { minLength: 1 }), (values) => {
        const all = spread(values)
        assert.ok(all !== undefined)
        const { min, q1, median, q3, p95, max, n } = all
        const steps = [min, q1, median, q3, p95, max]
        assert.equal(n, values.length)
        assert.equal(min, Math.min(...values))
        assert.equal(max, Math.max(...values))
        for (const [index, step] of steps.entries()) assert.ok(index === 0 || step >= (steps[index - 1] ?? 0) - 1e-6)
      }),
    )
  })

  it('are absent for no values', () => {
    assert.equal(spread([]), undefined)
  })
})

describe('what of a run counts', () => {
  it('are the pulls of nodes that neither had the image nor were killed', () => {
    const nodes = run().nodes.map((node, index) => (index === 0 ? { ...node, role: 'seed' as const } : node))
    assert.deepEqual(
      countedPulls(run({ nodes })).map(({ seconds }) => seconds),
      [2, 3],
    )
  })

  it('is no time when a pull failed, the bytes were wrong or the contender broke down', () => {
    const [first, ...others] = run().nodes
    const failed = { ...first, name: 'n1', pulls: [{ image: 'app:1', at: 0, seconds: 0.1, ok: false }] }
    for (const one of [
      run({ nodes: [failed, ...others] }),
      run({ contentOk: false }),
      run({ failure: 'crashed' }),
      run({ rigFailure: 'no space left' }),
    ]) {
      assert.equal(isComplete(one), false)
      assert.equal(wallSeconds(one), undefined)
      assert.equal(medianPullSeconds(one), undefined)
    }
    assert.equal(medianPullSeconds(run()), 2)
  })

  it('is no time when nobody pulled', () => {
    assert.equal(wallSeconds(run({ nodes: [] })), undefined)
  })

  it('are the bytes that the registry sent over those that a node lacked', () => {
    const upstream = { bytes: 1000, countedPulls: 1, manifestGets: 1 }
    assert.equal(copiesFromUpstream(run({ upstream })), 1)
    const images = [{ name: 'app:2', bytes: 1000, layers: 2, heldBytes: 500 }]
    assert.equal(copiesFromUpstream(run({ upstream, images })), 2)
    assert.equal(copiesFromUpstream(run()), undefined)
  })
})

describe('ratios', () => {
  const base = [0, 1, 2].map((repeat) => run({ contender: 'none', repeat, wallSeconds: 10 * (repeat + 1) }))

  it('are formed pair by pair, so that noise of an hour falls out', () => {
    const runs = [0, 1, 2].map((repeat) => run({ repeat, wallSeconds: 5 * (repeat + 1) }))
    const { values, spread, below, unpaired } = ratios(runs, base, wallSeconds)
    assert.deepEqual(values, [0.5, 0.5, 0.5])
    assert.equal(spread?.median, 0.5)
    assert.deepEqual([below, unpaired], [3, 0])
  })

  it('are not formed across repeats, variants or scenarios', () => {
    const runs = [run({ repeat: 9 }), run({ variant: '2 kB' }), run({ scenario: 'a' })]
    assert.deepEqual(ratios(runs, base, wallSeconds), {
      values: [],
      pairs: [0, 0],
      spread: undefined,
      below: 0,
      unpaired: 3,
    })
  })

  it('leave out pairs of which one half failed, and say how many', () => {
    const broken = base.map((one) => (one.repeat === 1 ? { ...one, failure: 'crashed' } : one))
    const runs = [0, 1, 2].map((repeat) => run({ repeat, wallSeconds: 20 }))
    const { values, below, unpaired } = ratios(runs, broken, wallSeconds)
    assert.deepEqual(values, [20 / 30, 2])
    assert.deepEqual([below, unpaired], [1, 1])
  })

  it('are counted for each variant, also where there are none', () => {
    const runs = [run(), run({ repeat: 1 }), run({ variant: '2 kB' })]
    assert.deepEqual(ratios(runs, base, wallSeconds).pairs, [2, 0])
  })

  it('leave out runs in which a kill struck nothing', () => {
    const mirrors = [{ node: 'n1', cpuSeconds: 1, peakRssBytes: 1 }]
    const killed = (sentBytes: number) => ({ node: 'n1', at: 1, sentBytes })
    const inKills = (wish: Partial<Run>) => run({ scenario: killScenario, ...wish })
    const reference = [inKills({ contender: 'none', mirrors: [] })]
    assert.equal(ratios([inKills({ mirrors, killed: killed(65_536) })], reference, wallSeconds).values.length, 1)
    assert.equal(ratios([inKills({ mirrors, killed: killed(65_535) })], reference, wallSeconds).values.length, 0)
    assert.equal(ratios([inKills({ mirrors })], reference, wallSeconds).values.length, 0)
    assert.equal(ratios(reference, reference, wallSeconds).values.length, 1)
    assert.equal(ratios([run({ mirrors })], base, wallSeconds).values.length, 1)
  })

  it('of the baseline to itself are 1', () => {
    assert.deepEqual(ratios(base, base, wallSeconds).values, [1, 1, 1])
  })
})
