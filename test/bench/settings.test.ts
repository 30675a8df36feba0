import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { estimateSeconds, takesOf } from '../../bench/compare/estimate.ts'
import { makeVersions } from '../../bench/compare/images.ts'
import { SCENARIOS } from '../../bench/compare/scenarios/all.ts'
import { UsageError, bitsPerSecond, parsePlan, settingsOf } from '../../bench/compare/settings.ts'

describe("the benchmark's command line", () => {
  it('measures six nodes, all scenarios and three contenders by default', () => {
    const plan = parsePlan([])
    assert.equal(plan.nodes, 6)
    assert.deepEqual(plan.scenarios, ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
    assert.deepEqual(plan.contenders, ['none', 'pull-through', 'nabo'])
    assert.deepEqual(plan.images, [{ megabytes: 100, layers: 4 }])
  })

  it('lets options win over --quick and --full', () => {
    const quick = parsePlan(['--quick', '--nodes', '2', '--scenarios', 'b'])
    assert.deepEqual([quick.mode, quick.nodes, quick.scenarios], ['quick', 2, ['b']])
    const full = parsePlan(['--full', '--images', '1000x1', '--repeats', '1'])
    assert.deepEqual([full.mode, full.images, full.repeats], ['full', [{ megabytes: 1000, layers: 1 }], 1])
  })

  it('refuses what it does not understand, in words', () => {
    const wrong = [
      ['--nodes', '1'],
      ['--rate', 'fast'],
      ['--registry-rate', '0mbit'],
      ['--scenarios', 'a,z'],
      ['--images', '100x3'],
      ['--images', '0x1'],
      ['--nods', '3'],
      ['--quick', '--full'],
      ['stray'],
    ]
    for (const args of wrong) assert.throws(() => parsePlan(args), UsageError, args.join(' '))
  })

  it('reads rates as tc does', () => {
    assert.equal(bitsPerSecond('400mbit'), 4e8)
    assert.equal(bitsPerSecond('1.5gbit'), 1.5e9)
    assert.equal(bitsPerSecond(undefined), undefined)
    const unshaped = settingsOf(parsePlan(['--rate', 'none']))
    assert.deepEqual([unshaped.nodeBitsPerSecond, unshaped.registryBitsPerSecond], [undefined, 2e8])
  })

  it('plays the quota with the smallest image alone, and a gigabyte where size is the question', () => {
    const takes = takesOf(parsePlan(['--full']), SCENARIOS)
    assert.deepEqual(
      takes.filter(({ scenario }) => scenario.id === 'g').map(({ image }) => image),
      [{ megabytes: 10, layers: 1 }],
    )
    const large = takes.filter(({ image }) => image.megabytes === 1000)
    assert.deepEqual(new Set(large.map(({ scenario }) => scenario.id)), new Set(['b', 'c']))
    assert.equal(takes.length, 4 * 6 + 2 * 2 + 1)
    assert.equal(takesOf(parsePlan(['--images', '1000x1', '--repeats', '1']), SCENARIOS).length, 7)
  })

  it('leaves out the update of an image of one layer, except as what follows the first version', () => {
    const [one, four] = [1, 4].map((layers) => {
      const cast = { ...makeVersions({ megabytes: 1, layers: layers === 1 ? 1 : 4 }), others: [] }
      return Object.fromEntries(SCENARIOS.map((scenario) => [scenario.id, scenario.variants(cast).length]))
    })
    assert.deepEqual([one?.['a'], one?.['b'], one?.['d']], [1, 1, 1])
    assert.deepEqual([four?.['a'], four?.['b'], four?.['d']], [2, 2, 1])
    const plan = parsePlan(['--images', '100x1,100x4', '--scenarios', 'b,d'])
    const estimate = (id: string, layers: number) =>
      estimateSeconds(
        plan,
        takesOf(plan, SCENARIOS).filter(({ scenario, image }) => scenario.id === id && image.layers === layers),
      )
    assert.ok(estimate('b', 1) < estimate('b', 4))
    assert.ok(estimate('d', 1) > estimate('d', 4))
  })

  it('expects larger images, more nodes and slower links to take longer', () => {
    const estimate = (...args: string[]) => {
      const plan = parsePlan(args)
      return estimateSeconds(plan, takesOf(plan, SCENARIOS))
    }
    const usual = estimate()
    assert.ok(estimate('--images', '1000x4') > usual)
    assert.ok(estimate('--nodes', '12') > usual)
    assert.ok(estimate('--registry-rate', '50mbit') > usual)
    assert.ok(estimate('--quick') < usual)
  })
})
