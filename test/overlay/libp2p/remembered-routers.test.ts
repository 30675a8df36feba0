import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { MAX_REMEMBERED, RememberedRouters } from '../../../src/overlay/libp2p/remembered-routers.ts'
import { minute } from '../../../src/time/units.ts'

const router = (n: number) => `/ip4/10.0.${n >> 8}.${n & 255}/tcp/7952`

function rememberedOf(kept: readonly string[] = []) {
  const state = { now: 0, alone: false, saved: [] as readonly (readonly string[])[] }
  const remembered = new RememberedRouters({
    kept,
    clock: () => state.now,
    isAlone: () => state.alone,
    onChange: (list) => (state.saved = [...state.saved, list]),
  })
  const candidates = async () =>
    (await remembered.candidates()).map((one) => (one.type === 'multiaddr' ? one.multiaddr.toString() : ''))
  return { state, remembered, candidates }
}

describe('the routers of members that were connected lately', () => {
  it('are kept from the last process, the latest first, and are candidates', async () => {
    const { remembered, candidates, state } = rememberedOf([router(1), router(2)])
    remembered.joined([router(3)])
    assert.deepEqual(remembered.list(), [router(3), router(1), router(2)])
    assert.deepEqual(state.saved, [remembered.list()])
    assert.deepEqual((await candidates()).toSorted(), [router(1), router(2), router(3)])
  })

  it('are forgotten a quarter of an hour after they were lost, and not while the node is alone', async () => {
    const { remembered, candidates, state } = rememberedOf([router(1)])
    for (const n of [2, 3, 4]) remembered.joined([router(n)])
    remembered.left([router(2)])
    remembered.left([router(3)])
    remembered.joined([router(3)])
    state.now = 16 * minute
    state.alone = true
    assert.equal((await candidates()).length, 4)
    state.alone = false
    assert.deepEqual((await candidates()).toSorted(), [router(3), router(4)])
    assert.deepEqual(state.saved.at(-1), [router(3), router(4)])
  })

  it('are the latest ones in a large cluster, and two of a member', () => {
    const { remembered } = rememberedOf(Array.from({ length: 3 * MAX_REMEMBERED }, (_, n) => router(n)))
    assert.equal(remembered.list().length, MAX_REMEMBERED)
    for (let n = 1000; n < 1010; n += 1) remembered.joined([router(n)])
    assert.equal(remembered.list().length, MAX_REMEMBERED)
    assert.deepEqual(remembered.list().slice(9, 11), [router(1000), router(0)])
    remembered.joined([router(2001), router(2002), router(2003)])
    assert.deepEqual(remembered.list().slice(0, 3), [router(2001), router(2002), router(1009)])
  })
})
