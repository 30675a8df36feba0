import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { MIB, SIZE, TableFixture, sources } from './swarm-table-fixture.ts'

describe('who is given as a source', () => {
  it('the first that asks goes upstream, the next one follows it', () => {
    const swarm = new TableFixture()
    assert.equal(swarm.join('a').type, 'upstream')
    const answer = swarm.join('b')
    assert.deepEqual(answer, {
      type: 'follow',
      sources: [{ peer: { id: 'a', address: 'a:7951' }, complete: false, level: 0 }],
    })
  })

  it('a chain grows below one complete holder, for its link is what is slow', () => {
    const swarm = new TableFixture()
    const chain = ['b', 'c', 'd', 'e', 'f', 'g'].map((id) => sources(swarm.join(id, {}, ['h'])))
    assert.deepEqual(chain, [['h'], ['b'], ['c'], ['d'], ['e'], ['f']])
  })

  it('a second child comes before the chain gets too long', () => {
    const swarm = new TableFixture()
    for (let count = 0; count < 9; count++) swarm.join(`m${count}`, {}, ['h'])
    assert.deepEqual(sources(swarm.join('last', {}, ['h'])), ['h'])
  })

  it('nobody has more children than the tree allows', () => {
    const swarm = new TableFixture({ treeChildren: 2, limits: { childCost: 0 } })
    const given = ['b', 'c', 'd'].map((id) => sources(swarm.join(id, {}, ['h']))[0])
    assert.deepEqual(given, ['h', 'h', 'b'])
  })

  it('the most advanced comes first among equals, then the least loaded', () => {
    const swarm = new TableFixture()
    swarm.join('x')
    swarm.members['b'] = { sending: 9 }
    for (const [id, position] of Object.entries({ b: 50, c: 50, d: 40 })) {
      swarm.report(id, { position: position * MIB, parent: 'x' })
    }
    swarm.table.drop('x')
    assert.deepEqual(sources(swarm.join('e', { position: 10 * MIB })), ['c'])
  })

  it('a node that has enough to do is passed over', () => {
    const swarm = new TableFixture()
    swarm.members['a'] = { sending: 32 }
    swarm.join('a')
    assert.equal(swarm.join('b').type, 'wait')
  })

  it('a busy source is passed over for a second, and by everybody', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'busy' }] }).type, 'wait')
    assert.equal(swarm.join('c').type, 'wait')
    swarm.now += 1000
    assert.deepEqual(sources(swarm.join('c')), ['a'])
  })

  it('a broken source is bad for who left it, and good for the others', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'broken' }] }).type, 'wait')
    assert.deepEqual(sources(swarm.join('c')), ['a'])
  })

  it('a silent source that lives is the last choice before the upstream', () => {
    const swarm = new TableFixture()
    const lease = { epoch: 1, rank: 0 }
    const left = [{ id: 'a', reason: 'stalled' }] as const
    swarm.join('a')
    swarm.join('b')
    for (let second = 0; second < 5; second++) {
      swarm.now += 1000
      swarm.report('a', { position: (second + 1) * MIB, lease })
      assert.deepEqual(sources(swarm.join('b', { left })), ['a'])
    }
    swarm.report('c', { position: 5 * MIB, parent: 'a' })
    assert.deepEqual(sources(swarm.join('b', { left })), ['c'])
  })

  it('a silent source is as good as others again for a member that got 4 MiB', () => {
    const swarm = new TableFixture()
    swarm.join('b', { left: [{ id: 'h', reason: 'stalled' }] }, ['h'])
    assert.deepEqual(sources(swarm.join('b', { position: 3 * MIB }, ['g', 'h'])), ['g'])
    assert.deepEqual(sources(swarm.join('b', { position: 4 * MIB }, ['g', 'h'])).toSorted(), ['g', 'h'])
  })

  it('a source that gives a byte after each request and is silent again is left after 15 s', () => {
    const swarm = new TableFixture()
    const left = [{ id: 'h', reason: 'stalled' }] as const
    let position = 0
    const ask = () => sources(swarm.join('b', { left, position: position++ }, ['h']))
    for (const wait of [5000, 5000, 4999, 1]) {
      assert.deepEqual(ask(), ['h'])
      swarm.now += wait
    }
    assert.deepEqual(ask(), ['upstream'])
  })

  it('a member that has complained of 64 sources has no patience with another one', () => {
    const swarm = new TableFixture()
    const some = Array.from({ length: 64 }, (_, n) => `h${n}`)
    swarm.join('b', { left: some.map((id) => ({ id, reason: 'stalled' })) }, some)
    const after = sources(swarm.join('b', { left: [{ id: 'i', reason: 'stalled' }] }, ['i']))
    assert.ok(!after.includes('i'), after.join(' '))
  })

  it('a complete holder that is silent is waited for, for 15 s', () => {
    const swarm = new TableFixture()
    const left = [{ id: 'h', reason: 'stalled' }] as const
    swarm.join('b', { left }, ['h'])
    swarm.now += 14_999
    assert.deepEqual(sources(swarm.join('b', { left }, ['h'])), ['h'])
    swarm.now += 1
    assert.equal(swarm.join('b', { left }, ['h']).type, 'upstream')
  })

  it('a silent source that does not report is no choice', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    swarm.now += 6000
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'stalled' }] }).type, 'upstream')
  })

  it('a claim that proved wrong is told, and the holder is not given any more', () => {
    const swarm = new TableFixture()
    assert.deepEqual(sources(swarm.join('b', {}, ['h'])), ['h'])
    const { answer, disproved } = swarm.decide('b', { left: [{ id: 'h', reason: 'absent' }] }, ['h'])
    assert.deepEqual([answer.type, disproved], ['upstream', ['h']])
    assert.deepEqual(sources(swarm.join('c', {}, ['h'])), ['b'])
  })

  it('a growing copy that cannot be seen yet is no wrong claim', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    assert.deepEqual(swarm.decide('b', { left: [{ id: 'a', reason: 'absent' }] }).disproved, [])
    assert.deepEqual(sources(swarm.join('c')), ['a'])
  })

  it('wrong bytes exclude their sender for ten minutes', () => {
    const swarm = new TableFixture()
    const left = [{ id: 'h', reason: 'wrong' }] as const
    assert.deepEqual(swarm.decide('b', { left }, ['h']).disproved, ['h'])
    swarm.leave('b', { type: 'cancelled' })
    swarm.now += 9 * 60_000
    swarm.table.expire()
    assert.equal(swarm.join('c', {}, ['h']).type, 'upstream')
    swarm.leave('c', { type: 'cancelled' })
    swarm.now += 2 * 60_000
    assert.deepEqual(sources(swarm.join('d', {}, ['h'])), ['h'])
  })

  it('several complete holders are given at once, up to four', () => {
    const swarm = new TableFixture()
    const holders = ['h1', 'h2', 'h3', 'h4', 'h5']
    const given = sources(swarm.join('b', {}, holders))
    assert.equal(given.length, 4)
    // The fifth has nothing to do yet, so it comes first.
    const fifth = holders.find((id) => !given.includes(id))
    assert.equal(sources(swarm.join('c', {}, holders))[0], fifth)
  })

  it('who read from two holders is called back when too many read from the one that is left', () => {
    const swarm = new TableFixture({ treeChildren: 2 })
    for (const id of ['a', 'b', 'c']) {
      assert.equal(sources(swarm.join(id, {}, ['h', 'i'])).length, 2)
      // So that nobody reads from another follower.
      swarm.report(id, { serves: false, parent: 'h' })
    }
    swarm.table.drop('i')
    swarm.now += 2000
    const answers = ['a', 'b', 'c'].map((id) => swarm.report(id, { parent: 'h' }))
    assert.deepEqual(new Set(answers), new Set(['ask']))
  })

  it('who is done is a source for 15 s', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.leave('a', { type: 'complete' })
    assert.deepEqual(swarm.join('b'), {
      type: 'follow',
      sources: [{ peer: { id: 'a', address: 'a:7951' }, complete: true, level: 0 }],
    })
    swarm.leave('b', { type: 'cancelled' })
    swarm.now += 15_000
    assert.equal(swarm.join('c').type, 'upstream')
  })

  it('who is done but cannot serve is no source', () => {
    const swarm = new TableFixture()
    swarm.join('a', { serves: false })
    swarm.leave('a', { type: 'complete' }, { serves: false })
    assert.equal(swarm.join('b').type, 'upstream')
  })

  it('who follows a member is never its source', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    swarm.join('c')
    swarm.table.drop('a')
    assert.equal(swarm.join('b', { left: [{ id: 'a', reason: 'broken' }] }).type, 'upstream')
    assert.deepEqual(sources(swarm.join('c')), ['b'])
  })

  it('all may follow the one that fetches a manifest', () => {
    const swarm = new TableFixture()
    swarm.join('a', { kind: 'manifest' })
    for (let count = 0; count < 20; count++) {
      assert.deepEqual(sources(swarm.join(`m${count}`, { kind: 'manifest' })), ['a'])
    }
  })
})

describe('zones', () => {
  it('each is fed once; the others of the zone get it from there', () => {
    const swarm = new TableFixture()
    for (const [index, id] of ['a1', 'b1', 'b2', 'b3', 'a2', 'b4'].entries()) {
      swarm.members[id] = { zone: id[0] ?? '' }
      const [source] = sources(swarm.join(id))
      if (index === 0) assert.equal(source, 'upstream')
      else assert.equal(source?.[0], id === 'b1' ? 'a' : id[0])
    }
  })

  it('is fed anew from outside when its feeder asks again', () => {
    const swarm = new TableFixture()
    for (const id of ['a1', 'a2', 'b1', 'b2']) {
      swarm.members[id] = { zone: id[0] ?? '' }
      swarm.join(id)
    }
    const left = [{ id: 'a1', reason: 'broken' }] as const
    assert.deepEqual(sources(swarm.join('b1', { left })), ['a2'])
  })
})

describe('followers that fall back', () => {
  it('are called to a faster source, at most every few seconds', () => {
    const swarm = new TableFixture()
    const lease = { epoch: 1, rank: 0 }
    swarm.join('lead')
    swarm.join('slow')
    swarm.join('fast')
    const answers: (string | undefined)[] = []
    swarm.join('low')
    for (let second = 0; second <= 7; second++) {
      swarm.report('lead', { position: second * 30 * MIB, lease })
      swarm.report('fast', { position: second * 29 * MIB, parent: 'lead' })
      swarm.report('slow', { position: second * 3 * MIB, parent: 'lead' })
      answers.push(swarm.report('low', { position: second * 2 * MIB, parent: 'slow' }))
      swarm.now += 1000
    }
    assert.equal(answers.filter((answer) => answer === 'ask').length, 1)
    assert.ok(['lead', 'fast'].includes(sources(swarm.join('low', { position: 16 * MIB }))[0] ?? ''))
  })

  it('stay where they are when nobody is faster', () => {
    const swarm = new TableFixture()
    const lease = { epoch: 1, rank: 0 }
    swarm.join('lead')
    swarm.join('low')
    for (let second = 0; second <= 8; second++) {
      swarm.report('lead', { position: second * 30 * MIB, lease })
      assert.equal(swarm.report('low', { position: second * 3 * MIB, parent: 'lead' }), 'ok')
      swarm.now += 1000
    }
  })
})

describe('suspicion', () => {
  it('excludes the senders, and calls back who reads from them or from the suspect', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('b')
    swarm.join('c')
    swarm.join('d')
    swarm.now += 4000
    swarm.report('a', { position: SIZE / 2, lease: { epoch: 1, rank: 0 } })
    swarm.leave('b', { type: 'suspect', senders: ['a'] })
    assert.equal(swarm.report('c', { position: MIB }), 'ask')
    assert.equal(swarm.join('c', { position: MIB }).type, 'upstream')
    assert.deepEqual(sources(swarm.join('e')), ['d'])
  })
})
