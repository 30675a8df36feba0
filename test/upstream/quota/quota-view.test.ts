import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type QuotaView, isUsedUp, knownUntil, mergeViews } from '../../../src/upstream/quota/quota-view.ts'
import { usedUpText } from '../../../src/upstream/quota/quota-words.ts'

const T = Date.parse('2026-11-21T12:00:00Z')
const WINDOW = 21_600
const view = (remaining: number, at: number, more: Partial<QuotaView> = {}): QuotaView => ({
  registry: 'docker.io',
  host: 'registry-1.docker.io',
  source: '203.0.113.7',
  limit: 100,
  remaining,
  windowSeconds: WINDOW,
  asOf: T + at,
  endsAt: T + at + WINDOW * 1000,
  ...more,
})

describe('two answers about a quota', () => {
  const both = (a: QuotaView, b: QuotaView) => {
    const merged = mergeViews(a, b)
    assert.deepEqual(mergeViews(b, a), merged, 'in whatever order they come')
    return merged
  }

  it('make the lowest count within a window, whose end is counted from the first', () => {
    assert.deepEqual(both(view(90, 0), view(80, 60_000)), view(80, 60_000, { endsAt: T + WINDOW * 1000 }))
  })

  it('do not give back what an answer that was overtaken still had', () => {
    assert.equal(both(view(80, 1000), view(81, 2000)).remaining, 80)
  })

  it('begin a new window when there is more again', () => {
    assert.deepEqual(both(view(0, 0), view(100, 60_000)), view(100, 60_000))
  })

  it('begin a new one when the old one is over, though less remains', () => {
    const later = WINDOW * 1000
    assert.deepEqual(both(view(90, 0), view(20, later)), view(20, later))
  })

  it('follow the newer one when the limit has changed', () => {
    assert.deepEqual(both(view(10, 0), view(190, 1000, { limit: 200 })), view(190, 1000, { limit: 200 }))
  })

  it('can show that there is more again however often they come', () => {
    let known = view(0, 0)
    for (let at = 1000; at <= 10_000; at += 1000) known = mergeViews(known, view(99, at))
    assert.equal(known.remaining, 99)
  })
})

describe('a quota', () => {
  it('is used up until its window is over', () => {
    const end = knownUntil(view(0, 0))
    assert.equal(end, T + WINDOW * 1000)
    assert.equal(isUsedUp(view(0, 0), end - 1), true)
    assert.equal(isUsedUp(view(0, 0), end), false)
    assert.equal(isUsedUp(view(1, 0), T), false)
  })

  it('is tried again after a while where nobody knows the window', () => {
    const { endsAt: _, ...unknown } = view(0, 0, { windowSeconds: 0 })
    assert.equal(isUsedUp(unknown, T + 60_000), true)
    assert.equal(isUsedUp(unknown, T + 600_000), false)
  })

  it('says in words what is used up, whose it is and until when', () => {
    assert.equal(
      usedUpText(view(0, 500)),
      'the quota of docker.io is used up until 2026-11-21T18:00:01Z at the latest: registry-1.docker.io allows 203.0.113.7 100 pulls in 6 h and 0 remain',
    )
    const { endsAt: _, ...unknown } = view(0, 0, { windowSeconds: 0 })
    assert.match(usedUpText(unknown), /100 pulls and 0 remain$/)
    assert.match(usedUpText(view(0, 0, { windowSeconds: 90 })), /in 90 s/)
    assert.match(usedUpText(view(0, 0, { windowSeconds: 120 })), /in 2 min/)
  })
})
