import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { notPlayed } from '../../bench/compare/not-played.ts'
import { mergeResults } from '../../bench/compare/report/merge.ts'
import type { Results } from '../../bench/compare/results.ts'
import { sampleResults } from './support/sample-results.ts'

const only = (id: string, wish: Partial<Results> = {}) =>
  sampleResults({ runs: sampleResults().runs.filter(({ scenario }) => scenario === id), ...wish })

describe('results of changed files', () => {
  it('never count as the same when nothing says which changes', () => {
    const revision = '887eb0c-dirty'
    assert.equal(mergeResults([only('a', { revision }), only('b', { revision })]).length, 2)
  })

  it('are one when the changes are the same', () => {
    const merged = (first: string, second: string) =>
      mergeResults([
        only('a', { revision: `887eb0c-dirty-${first}` }),
        only('b', { revision: `887eb0c-dirty-${second}` }),
      ])
    assert.equal(merged('01234567', '01234567').length, 1)
    assert.equal(merged('01234567', '89abcdef').length, 2)
  })
})

describe('results of which each leaves out something', () => {
  it('are one, which says what is missing in the whole', () => {
    const part = (id: string, note: string) => {
      const { settings } = sampleResults()
      return only(id, { settings: { ...settings, notes: [...(settings.notes ?? []), note] } })
    }
    const [merged, ...others] = mergeResults([part('a', 'Not played: 1x1 in a.'), part('g', 'Not played: 2x1 in g.')])
    assert.equal(others.length, 0)
    assert.equal(merged?.settings.notes?.at(-1), notPlayed(merged?.runs ?? []))
    assert.ok(merged?.settings.notes?.every((note) => !note.includes('1x1') && !note.includes('2x1')))
  })

  it('are numbered as further repeats, so that a second sitting adds pairs', () => {
    const [merged] = mergeResults([only('a'), only('a')])
    const repeats = new Set(merged?.runs.map(({ repeat }) => repeat))
    assert.equal(repeats.size, 2 * new Set(only('a').runs.map(({ repeat }) => repeat)).size)
  })
})
