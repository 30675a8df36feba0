import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findingsAbout, type NeighbourLook } from '../../src/doctor/neighbours.ts'

const MINUTES = 60_000

function about(look: Partial<NeighbourLook>, known: Partial<Parameters<typeof findingsAbout>[1]> = {}) {
  const neighbour: NeighbourLook = { id: 'it', address: '10.0.0.9:7951', answer: 'ok', ...look }
  return findingsAbout(neighbour, { selfAddress: '10.0.0.1:7951', typicalOffset: 0, reports: [], ...known })
}

describe('the findings about a neighbour', () => {
  it('are none if it answers, reaches this node and has no findings of its own', () => {
    assert.deepEqual(about({ ready: true, clockAheadMs: 800 }), [])
  })

  it('are none for a neighbour that was not asked in time', () => {
    assert.deepEqual(about({ answer: 'none', wasAsked: false, failure: 'it was not asked' }), [])
  })

  it('say why it does not answer, and why it refuses', () => {
    const [silent] = about({ answer: 'none', failure: 'it cannot be reached: connect ECONNREFUSED' })
    assert.deepEqual(
      [silent?.id, silent?.level, silent?.says],
      ['peers', 'warning', 'does not answer: it cannot be reached: connect ECONNREFUSED'],
    )
    const [refusing] = about({ answer: 'refused', failure: 'it answered 403' })
    assert.deepEqual(
      [refusing?.id, refusing?.level, refusing?.says],
      ['secret', 'error', 'refuses this node: it answered 403'],
    )
  })

  it('name who reports them: the neighbour, where it cannot reach this node or reports itself', () => {
    const reports = [{ id: 'space', title: 'free space', level: 'error', says: 'the disk is full' }] as const
    const all = about({ cannotReachUs: '10.0.0.1:7951 cannot be reached' }, { reports })
    assert.deepEqual(
      all.map(({ id, says, seenBy }) => [id, says, seenBy]),
      [
        ['space', 'free space: the disk is full', ['10.0.0.9:7951']],
        ['reachable', 'cannot reach this node: 10.0.0.1:7951 cannot be reached', ['10.0.0.9:7951']],
      ],
      'the worst first',
    )
    assert.match(all[1]?.fix ?? '', /port 7951 of this one .* set --advertise-addr/)
  })

  it('blame its clock only if that differs from most clocks', () => {
    assert.match(
      about({ clockAheadMs: 20 * MINUTES })[0]?.says ?? '',
      /its clock is 20 minutes ahead of that of this node/,
    )
    assert.match(
      about({ clockAheadMs: -20 * MINUTES })[0]?.says ?? '',
      /its clock is 20 minutes behind that of this node/,
    )
    assert.deepEqual(about({ clockAheadMs: 20 * MINUTES }, { typicalOffset: 20 * MINUTES }), [])
    const [behind] = about({ clockAheadMs: 0 }, { typicalOffset: 20 * MINUTES })
    assert.equal(behind?.says, 'its clock is 20 minutes behind most other clocks')
  })

  it('say that it is not ready where nothing else explains it', () => {
    assert.deepEqual(about({ ready: false })[0]?.says, 'is not ready')
    const reports = [{ id: 'containerd', title: 'containerd', level: 'error', says: 'nothing answers' }] as const
    assert.deepEqual(
      about({ ready: false }, { reports }).map(({ id }) => id),
      ['containerd'],
    )
  })
})
