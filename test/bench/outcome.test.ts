import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { notPlayed, withNotPlayed } from '../../bench/compare/not-played.ts'
import { complaintsOf } from '../../bench/compare/outcome.ts'
import type { Run } from '../../bench/compare/results.ts'

const pull = (ok: boolean) => ({ image: 'bench/app:1', at: 0, seconds: 1, ok })

function runOf(wish: Partial<Run> = {}): Run {
  const nodes = [{ name: 'node-0', pulls: [pull(true)] }]
  return { scenario: 'b', variant: '1 MB', contender: 'nabo', repeat: 0, images: [], nodes, wallSeconds: 1, ...wish }
}

describe('what went wrong', () => {
  const complaints = (wish: Partial<Run>) => complaintsOf([{ id: 'nabo', title: 'Nabo' }], [runOf(wish)])
  const failed = [{ name: 'node-0', pulls: [pull(true), pull(false)] }]

  it('is nothing when all pulls worked', () => {
    assert.deepEqual(complaints({ contentOk: true }), [])
    assert.deepEqual(complaints({}), [])
  })

  it('is a contender that could not take part, or failed, wrong content, and the rig', () => {
    assert.match(complaintsOf([{ id: 'x', title: 'X', failure: 'not there' }], [])[0] ?? '', /x could not .*not there/)
    assert.match(complaints({ failure: 'crashed' })[0] ?? '', /nabo in b .*crashed/)
    assert.match(complaints({ contentOk: false })[0] ?? '', /wrong content/)
    assert.match(complaints({ rigFailure: 'no space' })[0] ?? '', /benchmark itself failed: no space/)
  })

  it('is a pull that failed, except where that is the question', () => {
    for (const scenario of ['a', 'b', 'c', 'd'])
      assert.equal(complaints({ scenario, nodes: failed }).length, 1, scenario)
    for (const scenario of ['e', 'g']) assert.deepEqual(complaints({ scenario, nodes: failed }), [], scenario)
  })

  it('is a pull that failed when one mirror of several was killed, and not when it was the only one', () => {
    const killed = { name: 'node-1', role: 'killed' as const, pulls: [] }
    assert.equal(complaints({ scenario: 'f', nodes: [...failed, killed] }).length, 1)
    assert.deepEqual(complaints({ scenario: 'f', nodes: failed }), [])
  })

  it('is not a pull of the node that was killed', () => {
    const killed = { name: 'node-1', role: 'killed' as const, pulls: [pull(false)] }
    assert.deepEqual(complaints({ scenario: 'f', nodes: [killed] }), [])
  })
})

describe('what was not played', () => {
  it('is said by images and scenarios', () => {
    const runs = [
      { scenario: 'a', variant: '10 MB, 4 layers, first version' },
      { scenario: 'b', variant: '10 MB, 4 layers, update' },
      { scenario: 'b', variant: '1000 MB, 1 layer, first version' },
      { scenario: 'b', variant: '1000 MB, 4 layers, first version' },
      { scenario: 'g', variant: 'three images: 10 MB, 4 layers, first version' },
    ]
    assert.equal(notPlayed(runs), 'Not played: 1000x1, 1000x4 in a, g.')
    assert.equal(notPlayed(runs.slice(0, 2)), undefined)
  })

  it('replaces what was said before', () => {
    const runs = [
      runOf({ scenario: 'a', variant: '1 MB, 1 layer' }),
      runOf({ scenario: 'b', variant: '2 MB, 1 layer' }),
    ]
    assert.deepEqual(withNotPlayed(['How.', 'Not played: 9x1 in a.'], runs), [
      'How.',
      'Not played: 1x1 in b; 2x1 in a.',
    ])
    assert.deepEqual(withNotPlayed(['How.', 'Not played: 9x1 in a.'], []), ['How.'])
  })
})
