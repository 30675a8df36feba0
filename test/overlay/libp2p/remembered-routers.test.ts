import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { multiaddr } from '@multiformats/multiaddr'

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
  /** A member of its own for these routers, connected from `from`. */
  const join = (routers: readonly string[], from?: string, id = routers.join()) =>
    remembered.joined({ id, from, routers: routers.map((one) => multiaddr(one)) })
  const leave = (routers: readonly string[]) => remembered.left(routers.join())
  const fail = (text: string, times: number) => {
    for (let n = 0; n < times; n += 1) remembered.failed(multiaddr(text))
  }
  return { state, remembered, candidates, join, leave, fail }
}

describe('the routers of members that were connected lately', () => {
  it('are kept from the last process, the latest first, and are candidates', async () => {
    const { remembered, candidates, state, join } = rememberedOf([router(1), router(2)])
    join([router(3)])
    assert.deepEqual(remembered.list(), [router(3), router(1), router(2)])
    assert.deepEqual(state.saved, [remembered.list()])
    assert.deepEqual((await candidates()).toSorted(), [router(1), router(2), router(3)])
  })

  it('are forgotten a quarter of an hour after they were lost, and not while the node is alone', async () => {
    const { candidates, state, join, leave } = rememberedOf([router(1)])
    for (const n of [2, 3, 4]) join([router(n)])
    leave([router(2)])
    leave([router(3)])
    join([router(3)])
    state.now = 16 * minute
    state.alone = true
    assert.equal((await candidates()).length, 4)
    state.alone = false
    assert.deepEqual((await candidates()).toSorted(), [router(3), router(4)])
    assert.deepEqual(state.saved.at(-1), [router(3), router(4)])
  })

  it('are the latest ones in a large cluster, and two of a member', () => {
    const { remembered, join } = rememberedOf(Array.from({ length: 3 * MAX_REMEMBERED }, (_, n) => router(n)))
    assert.equal(remembered.list().length, MAX_REMEMBERED)
    for (let n = 1000; n < 1010; n += 1) join([router(n)])
    assert.equal(remembered.list().length, MAX_REMEMBERED)
    assert.deepEqual(remembered.list().slice(9, 11), [router(1000), router(0)])
    join([router(2001), router(2002), router(2003)])
    assert.deepEqual(remembered.list().slice(0, 3), [router(2001), router(2002), router(1009)])
  })

  it('are those of connected members, whatever other members invent and whoever leaves', async () => {
    const { remembered, candidates, join, leave } = rememberedOf()
    const honest = Array.from({ length: 100 }, (_, n) => router(n))
    for (const [n, one] of honest.entries()) join([one], n % 2 === 0 ? `10.0.0.${n}` : '192.0.2.1')
    const kept = honest.filter((_, n) => n % 2 === 0)
    for (let n = 0; n < 64; n += 1) {
      const invented = [`/ip4/192.168.1.${n}/tcp/22`, `/dns/victim${n}.example/tcp/25`]
      join(invented, '10.9.9.9')
      leave(invented)
    }
    const list = remembered.list()
    for (const one of kept) assert.ok(list.includes(one), one)
    assert.equal(list.filter((one) => /victim|192\.168/.test(one)).length, 8, 'eight of one host')
    assert.equal((await candidates()).length, 50 + 8 + 8)
  })

  it('are lost ones before connected ones where the list is full', () => {
    const { remembered, join, leave } = rememberedOf()
    for (let n = 0; n < MAX_REMEMBERED; n += 1) join([router(n)], `10.0.0.${n}`)
    leave([router(100)])
    join([router(1_000)])
    assert.ok(remembered.list().includes(router(0)))
    assert.ok(!remembered.list().includes(router(100)))
  })

  it('are eight of one host, with whatever ports and members, and two of one member, whatever it says next', () => {
    const { remembered, join } = rememberedOf()
    for (let n = 1; n < 20; n += 1) join([`/ip4/10.0.0.1/tcp/${n}`], `10.1.0.${n}`)
    assert.equal(remembered.list().length, 8)
    for (let n = 0; n < 20; n += 2) join([`/ip4/10.2.0.${n}/tcp/1`, `/ip4/10.2.0.${n + 1}/tcp/1`], '10.3.0.1', 'one')
    assert.equal(remembered.list().length, 10)
    assert.equal(remembered.list()[0], '/ip4/10.2.0.18/tcp/1')
  })

  it('stay those of a connected member, whoever says the same', async () => {
    const { remembered, state, candidates, join } = rememberedOf()
    join([router(1)], '10.0.0.1', 'honest')
    join([router(1)], '10.9.9.9', 'other')
    remembered.left('other')
    state.now = 16 * minute
    assert.deepEqual(await candidates(), [router(1)])
    // With a new identity after a restart, before the end of the old connection is noticed.
    join([router(1)], '10.0.0.1', 'restarted')
    remembered.left('honest')
    state.now = 32 * minute
    assert.deepEqual(await candidates(), [router(1)])
  })

  it('are forgotten after some failed dials, unless a member was there, or this node is alone', async () => {
    const { state, candidates, join, leave, fail } = rememberedOf([router(1)])
    for (const n of [2, 3, 4]) join([router(n)], n === 2 ? '10.0.0.2' : '192.0.2.1')
    leave([router(2)])
    leave([router(3)])
    state.now = 1 * minute
    leave([router(4)])
    state.alone = true
    for (const n of [1, 2, 3, 4]) fail(router(n), 20)
    assert.equal((await candidates()).length, 4)
    state.alone = false
    for (const n of [1, 2, 3, 4]) fail(router(n), 3)
    assert.equal((await candidates()).length, 4)
    for (const n of [1, 2, 3, 4]) fail(router(n), 20)
    // 1 is of the last process, 2 was connected from its router's host, 4 was connected for a minute.
    assert.deepEqual((await candidates()).toSorted(), [router(1), router(2), router(4)])
    assert.ok(!state.saved.at(-1)?.includes(router(3)))
  })
})
