import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { SELF_RANK } from '../../src/swarm/messages.ts'
import { MIB, SIZE, TableFixture, leaseOf, sources } from './swarm-table-fixture.ts'

const first = { epoch: 1, rank: 0 }

describe('a lease', () => {
  it('is told again to who asks again', () => {
    const swarm = new TableFixture()
    assert.deepEqual(leaseOf(swarm.join('a')), first)
    assert.deepEqual(leaseOf(swarm.join('a')), first)
    assert.equal(swarm.table.stats().leasesGranted, 1)
  })

  it('is renewed by progress', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    for (let second = 1; second <= 20; second++) {
      swarm.now += 1000
      swarm.report('a', { position: second * MIB, lease: first })
      swarm.table.expire()
    }
    assert.deepEqual(sources(swarm.join('b')), ['a'])
  })

  it('is lost by reports without progress', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.now += 1000
    swarm.report('a', { position: MIB, lease: first })
    for (let second = 0; second < 5; second++) {
      assert.equal(swarm.table.stats().leases, 1)
      swarm.now += 1000
      swarm.report('a', { position: MIB, lease: first })
    }
    assert.equal(swarm.table.stats().leases, 0)
    assert.deepEqual(leaseOf(swarm.join('b', { left: [{ id: 'a', reason: 'stalled' }] })), { epoch: 2, rank: 0 })
    assert.equal(swarm.report('a', { position: 2 * MIB, lease: first }), 'ask')
    assert.deepEqual(sources(swarm.join('a', { position: 2 * MIB })), ['b'])
  })

  it('may take ten seconds to its first byte', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    for (let second = 0; second < 9; second++) {
      swarm.now += 1000
      swarm.report('a', { lease: first })
    }
    assert.equal(swarm.table.stats().leases, 1)
    swarm.now += 1000
    swarm.report('a', { lease: first })
    assert.equal(swarm.table.stats().leases, 0)
  })

  it('ends six seconds after the last report', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.now += 5999
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'refused' }] }).type, 'wait')
    swarm.now += 1
    assert.equal(swarm.join('b').type, 'upstream')
  })

  it('goes at once with its node, to the most advanced follower, at its byte', () => {
    const swarm = new TableFixture({ limits: { childCost: 0 } })
    swarm.join('a')
    for (const id of ['b', 'c', 'd']) swarm.join(id)
    swarm.now += 1000
    for (const [index, id] of ['b', 'c', 'd'].entries()) {
      swarm.report(id, { position: (10 + index) * MIB, parent: 'a' })
    }
    swarm.table.drop('a')
    const left = [{ id: 'a', reason: 'broken' }] as const
    // The others have asked first, but go on behind the one that is ahead of them.
    assert.deepEqual(sources(swarm.join('b', { left, position: 10 * MIB })), ['d'])
    assert.deepEqual(leaseOf(swarm.join('d', { left, position: 12 * MIB })), { epoch: 2, rank: 0 })
    assert.deepEqual(sources(swarm.join('c', { left, position: 11 * MIB })), ['d'])
    assert.equal(swarm.table.stats().leasesMoved, 1)
  })

  it('is left to a more advanced member that has asked a moment ago', () => {
    const swarm = new TableFixture()
    const left = [{ id: 'a', reason: 'broken' }] as const
    swarm.join('a')
    swarm.join('b', { position: 9 * MIB, left })
    swarm.leave('a', { type: 'cancelled' })
    swarm.now += 200
    // The one that is ahead is bad for it, so it can but wait.
    const behind = { position: MIB, left: [{ id: 'b', reason: 'broken' }] } as const
    assert.equal(swarm.join('c', behind).type, 'wait')
    swarm.now += 200
    assert.equal(swarm.join('c', behind).type, 'upstream')
  })

  it('is given back by who cancels', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.leave('a', { type: 'cancelled' })
    assert.equal(swarm.join('b').type, 'upstream')
  })

  it('stays when one follower complains and its holder reports', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    swarm.now += 1000
    swarm.report('a', { position: MIB, lease: first })
    swarm.now += 1400
    assert.notEqual(swarm.join('b', { left: [{ id: 'a', reason: 'broken' }] }).type, 'upstream')
  })

  it('is not given by who may give none', () => {
    const swarm = new TableFixture()
    assert.equal(swarm.decide('a', {}, [], 1, { mayGrant: false }).answer.type, 'wait')
    assert.equal(swarm.table.stats().leases, 0)
    assert.deepEqual(sources(swarm.decide('a', {}, ['h'], 1, { mayGrant: false }).answer), ['h'])
  })

  it('is lost when a follower complains and its holder has missed a report', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    swarm.now += 1600
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'broken' }] }).type, 'upstream')
  })

  it('does not come back to one that slept, by its lower epoch', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.now += 10_000
    swarm.table.expire()
    swarm.join('b')
    swarm.now += 500
    swarm.join('b', { lease: { epoch: 1, rank: 0 } })
    assert.equal(swarm.report('b', { lease: { epoch: 1, rank: 0 } }), 'ok')
  })

  it('of a member that nobody can follow does not keep others from going upstream', () => {
    const swarm = new TableFixture()
    const unshared = leaseOf(swarm.join('a', { serves: false }))
    assert.equal(swarm.join('b').type, 'wait')
    swarm.now += 1600
    swarm.report('a', { serves: false, lease: unshared, position: MIB })
    assert.equal(swarm.join('b').type, 'upstream')
    assert.equal(swarm.report('a', { serves: false, lease: unshared, position: 2 * MIB }), 'ok')
    assert.deepEqual(sources(swarm.join('c')), ['b'])
  })

  it('of a member that nobody can follow does not keep another such one waiting', () => {
    const swarm = new TableFixture()
    const first = leaseOf(swarm.join('a', { serves: false }))
    const answer = swarm.join('b', { serves: false })
    assert.equal(answer.type, 'upstream')
    const second = leaseOf(answer)
    swarm.now += 1000
    assert.equal(swarm.report('a', { serves: false, lease: first, position: MIB }), 'ok')
    assert.equal(swarm.report('b', { serves: false, lease: second, position: MIB }), 'ok')
    swarm.now += 600
    assert.equal(swarm.join('c').type, 'upstream')
    assert.deepEqual(sources(swarm.join('d')), ['c'])
    assert.equal(swarm.report('b', { serves: false, lease: second, position: 2 * MIB }), 'ok')
  })
})

describe('two leases meet', () => {
  const meet = (known: typeof first, other: typeof first) => {
    const swarm = new TableFixture()
    swarm.report('a', { position: 5 * MIB, lease: known })
    const told = { b: swarm.report('b', { position: MIB, lease: other }), a: '' as string | undefined }
    told.a = swarm.report('a', { position: 6 * MIB, lease: known })
    assert.equal(swarm.table.stats().leases, 1)
    return { told, swarm }
  }

  it('the lower rank wins, and the other follows at its byte', () => {
    const { told, swarm } = meet({ epoch: 1, rank: 1 }, { epoch: 7, rank: 0 })
    assert.deepEqual(told, { a: 'ask', b: 'ok' })
    assert.deepEqual(sources(swarm.join('a', { position: 6 * MIB, lease: { epoch: 1, rank: 1 } })), ['b'])
  })

  it('one that went alone yields to one that was granted', () => {
    assert.deepEqual(meet(first, { epoch: 1, rank: SELF_RANK }).told, { a: 'ok', b: 'ask' })
  })

  it('one that goes alone is not told to ask while nobody can be named to it', () => {
    const swarm = new TableFixture()
    const alone = { epoch: 1, rank: SELF_RANK }
    swarm.report('a', { position: 5 * MIB, lease: first })
    const left = [{ id: 'a', reason: 'refused' }] as const
    assert.equal(swarm.join('b', { position: 6 * MIB, left }).type, 'wait')
    assert.equal(swarm.report('b', { position: 6 * MIB, lease: alone }), 'ok')
    assert.equal(swarm.table.stats().leases, 1)
    swarm.now += 1000
    swarm.report('a', { position: 8 * MIB, lease: first })
    swarm.report('c', { position: 8 * MIB, parent: 'a' })
    assert.equal(swarm.report('b', { position: 7 * MIB, lease: alone }), 'ask')
    assert.deepEqual(sources(swarm.join('b', { position: 7 * MIB })), ['c'])
  })

  it('one of an absurd epoch keeps nobody from a lease that a message can carry', () => {
    const swarm = new TableFixture()
    swarm.report('a', { lease: { epoch: Number.MAX_SAFE_INTEGER, rank: 0 } })
    swarm.now += 60_000
    for (const id of ['b', 'c']) {
      assert.ok(Number.isSafeInteger(leaseOf(swarm.join(id))?.epoch), id)
      swarm.now += 60_000
    }
  })

  it('of the same rank the lower epoch wins', () => {
    assert.deepEqual(meet({ epoch: 4, rank: 0 }, { epoch: 3, rank: 0 }).told, { a: 'ask', b: 'ok' })
    assert.deepEqual(meet({ epoch: 3, rank: 0 }, { epoch: 4, rank: 0 }).told, { a: 'ok', b: 'ask' })
  })

  it('the same rank and epoch are settled alike everywhere', () => {
    assert.deepEqual(meet(first, first).told, { a: 'ok', b: 'ask' })
  })

  it('a coordinator that only stands by does not settle what a closer one granted', () => {
    const swarm = new TableFixture()
    swarm.report('a', { lease: first }, 1)
    assert.equal(swarm.report('b', { lease: { epoch: 2, rank: 0 } }, 1), 'ok')
    assert.equal(swarm.report('a', { lease: first }, 1), 'ok')
    assert.deepEqual(sources(swarm.join('c', {}, [], 1)), ['b'])
  })
})

describe('a leader that is slow', () => {
  const run = (swarm: TableFixture, leader: string, follower: string, seconds: number, position: number) => {
    const asked = { leader: 0, follower: 0 }
    const lease = leaseOf(swarm.join(leader, { position }))
    for (let second = 0; second < seconds; second++) {
      swarm.now += 1000
      position += MIB
      if (swarm.report(leader, { position, lease }) === 'ask') asked.leader++
      if (swarm.report(follower, { position, parent: leader, upstreamRate: 3 * MIB }) === 'ask') asked.follower++
    }
    return { asked, position, lease }
  }

  it('loses the lease to the follower that is twice as fast, and follows it; not again for half a minute', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    const { asked, position, lease } = run(swarm, 'a', 'b', 4, 0)
    assert.deepEqual(asked, { leader: 0, follower: 1 })
    assert.deepEqual(leaseOf(swarm.join('b', { position })), { epoch: 2, rank: 0 })
    assert.equal(swarm.report('a', { position, lease }), 'ask')
    assert.deepEqual(sources(swarm.join('a', { position, lease })), ['b'])
    assert.deepEqual(run(swarm, 'b', 'a', 20, position).asked, { leader: 0, follower: 0 })
  })
})

describe('a leader that is slow keeps its lease', () => {
  const lease = { epoch: 1, rank: 0 }
  /** Reports of four seconds; says whether the follower was called. */
  const isCalled = (swarm: TableFixture, from: number, follower: (position: number) => number) => {
    let called = false
    swarm.join('a', { position: from })
    swarm.join('b', { position: follower(from) })
    for (let second = 1; second <= 4; second++) {
      swarm.now += 1000
      const position = from + second * MIB
      swarm.report('a', { position, lease })
      called ||= swarm.report('b', { position: follower(position), parent: 'a', upstreamRate: 3 * MIB }) === 'ask'
    }
    return called
  }

  it('unless the follower keeps up with it', () => {
    assert.equal(
      isCalled(new TableFixture(), 10 * MIB, (position) => position),
      true,
    )
    assert.equal(
      isCalled(new TableFixture(), 10 * MIB, (position) => position - 8 * MIB),
      false,
    )
  })

  it('near the end, where a move costs more than it brings', () => {
    assert.equal(
      isCalled(new TableFixture(), SIZE - 12 * MIB, (position) => position),
      false,
    )
  })

  it('and its successor goes on behind it once it is complete', () => {
    const swarm = new TableFixture()
    assert.equal(
      isCalled(swarm, 10 * MIB, (position) => position),
      true,
    )
    swarm.leave('a', { type: 'complete' })
    assert.deepEqual(sources(swarm.join('b', { position: 14 * MIB })), ['a'])
  })
})

describe('tags and failures', () => {
  const failure = { absent: false, message: 'too many requests' }

  it('a failure is told to all for three seconds', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.leave('a', { type: 'failed', failure })
    swarm.now += 2999
    assert.deepEqual(swarm.join('b'), { type: 'failed', failure })
    swarm.now += 1
    assert.equal(swarm.join('b').type, 'upstream')
  })

  it('a failure is not told while another one gets on', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.leave('b', { type: 'failed', failure })
    assert.deepEqual(sources(swarm.join('c')), ['a'])
  })

  it('one asks for a tag, the others wait and are told, for 15 s', () => {
    const swarm = new TableFixture()
    const descriptor = { digest: 'sha256:aa', size: 2, mediaType: 'x' } as never
    const value = { descriptor, date: 5, anonymous: true }
    assert.equal(swarm.join('a', { kind: 'tag' }).type, 'upstream')
    assert.equal(swarm.join('b', { kind: 'tag' }).type, 'wait')
    swarm.leave('a', { type: 'resolved', value }, { kind: 'tag' })
    swarm.now += 14_999
    assert.deepEqual(swarm.join('b', { kind: 'tag' }), { type: 'known', value })
    swarm.now += 1
    assert.equal(swarm.join('b', { kind: 'tag' }).type, 'upstream')
  })
})

describe('the answer about a tag', () => {
  const value = (hex: string) =>
    ({ descriptor: { digest: `sha256:${hex}`, size: 2, mediaType: 'x' }, date: 5, anonymous: true }) as never

  it('counts from the lease holder only', () => {
    const swarm = new TableFixture()
    assert.equal(swarm.join('a', { kind: 'tag' }).type, 'upstream')
    assert.equal(swarm.join('b', { kind: 'tag' }).type, 'wait')
    const invented = { lease: { epoch: 0, rank: 0 }, kind: 'tag' } as const
    for (const [liar, entry] of [
      ['b', { kind: 'tag' }],
      ['b', invented],
      ['x', { kind: 'tag' }],
      ['x', invented],
    ] as const) {
      if (entry === invented) assert.equal(swarm.report(liar, entry), 'ask')
      swarm.leave(liar, { type: 'resolved', value: value('bad') }, entry)
      assert.equal(swarm.join('c', { kind: 'tag' }).type, 'wait', `${liar} is not believed`)
    }
    swarm.leave('a', { type: 'resolved', value: value('good') }, { kind: 'tag' })
    assert.deepEqual(swarm.join('c', { kind: 'tag' }), { type: 'known', value: value('good') })
  })
})

describe('a coordinator that knows nothing yet', () => {
  it('learns leases and the tree from reports', () => {
    const swarm = new TableFixture({ treeChildren: 1 })
    assert.equal(swarm.report('a', { position: 9 * MIB, lease: { epoch: 4, rank: 0 } }), 'ok')
    assert.equal(swarm.report('b', { position: 8 * MIB, parent: 'a' }), 'ok')
    assert.ok(swarm.table.has('registry.test/app@sha256:aa'))
    assert.deepEqual(sources(swarm.join('c')), ['b'])
    swarm.table.drop('a')
    assert.deepEqual(leaseOf(swarm.join('b', { position: 8 * MIB })), { epoch: 5, rank: 0 })
  })

  it('asks those anew whose tree would break the rules', () => {
    const swarm = new TableFixture({ treeChildren: 1 })
    swarm.report('a', { position: 9 * MIB, lease: first })
    assert.equal(swarm.report('b', { parent: 'a' }), 'ok')
    assert.equal(swarm.report('c', { parent: 'a' }), 'ask')
    assert.equal(swarm.report('d', { parent: 'b' }), 'ok')
    swarm.report('b', { parent: undefined })
    assert.equal(swarm.report('b', { parent: 'd' }), 'ask')
  })

  it('takes a member that finished as a source', () => {
    const swarm = new TableFixture()
    swarm.leave('a', { type: 'complete' }, { position: SIZE })
    assert.deepEqual(sources(swarm.join('b')), ['a'])
  })
})
