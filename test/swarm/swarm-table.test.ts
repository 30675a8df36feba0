import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import type { Lease } from '../../src/swarm/messages.ts'
import type { LeftSource } from '../../src/swarm/swarm.ts'
import { seededRandom } from './simulation/random.ts'
import { MIB, TableFixture, leaseOf, sources } from './swarm-table-fixture.ts'

const TREE_CHILDREN = 2

describe('the bounds of a swarm table', () => {
  it('who comes when it is full is given a source, and not remembered', () => {
    const swarm = new TableFixture({ limits: { maxMembers: 2 } })
    swarm.join('a')
    swarm.join('b')
    for (let count = 0; count < 50; count++) assert.equal(swarm.join(`m${count}`).type, 'follow')
    const { members, overflows } = swarm.table.stats()
    assert.deepEqual({ members, overflows }, { members: 2, overflows: 50 })
  })

  it('leave room for others, whatever the nodes behind one address join or report', () => {
    const swarm = new TableFixture({ limits: { maxItems: 20, maxItemsPerAddress: 5, maxMembersPerAddress: 8 } })
    const failure = { absent: true, message: 'no' }
    for (const [id, remoteAddress] of ['a1', 'a2', 'b1', 'b2', 'c1', 'c2'].map(
      (id) => [id, `10.0.0.${id[0]}`] as const,
    ))
      swarm.members[id] = { remoteAddress }
    for (let n = 0; n < 50; n++) {
      const number = (n % 2) + 1
      swarm.join(`a${number}`, { item: `joined ${n}` })
      swarm.leave(`b${number}`, { type: 'suspect', senders: ['h'] }, { item: `suspect ${n}` })
      swarm.leave(`c${number}`, { type: 'failed', failure }, { item: `failed ${n}` })
    }
    assert.equal(swarm.table.stats().items, 15)
    assert.equal(swarm.join('d').type, 'upstream')
    assert.deepEqual(sources(swarm.join('e')), ['d'])
    for (let n = 0; n < 50; n++) {
      swarm.members[`a${n}`] = { remoteAddress: '10.0.0.a' }
      swarm.join(`a${n}`)
    }
    assert.equal(swarm.table.stats().members, 8 + 2)
    swarm.now += 20 * 60_000
    swarm.table.expire()
    assert.deepEqual([swarm.table.stats().items, swarm.table.stats().members], [0, 0])
    for (let n = 0; n < 5; n++) swarm.join('a1', { item: `later ${n}` })
    assert.equal(swarm.table.stats().items, 5, 'what is over counts no more')
  })

  it('who asks for one item too many goes to a holder, or upstream', () => {
    const swarm = new TableFixture({ limits: { maxItems: 1 } })
    swarm.join('a')
    assert.deepEqual(sources(swarm.join('b', { item: 'other' }, ['h'])), ['h'])
    assert.equal(swarm.join('b', { item: 'other' }).type, 'upstream')
    assert.equal(swarm.report('b', { item: 'other' }), 'ok')
    swarm.leave('b', { type: 'complete' }, { item: 'other' })
    swarm.leave('b', { type: 'suspect', senders: ['h'] }, { item: 'other' })
    assert.equal(swarm.table.stats().items, 1)
    assert.equal(swarm.table.has('other'), false)
  })

  it('what one member can make it remember has an end', () => {
    const swarm = new TableFixture()
    const left: LeftSource[] = Array.from({ length: 5000 }, (_, index) => ({ id: `x${index}`, reason: 'wrong' }))
    for (let round = 0; round < 20; round++) swarm.join('a', { left })
    assert.equal(swarm.table.stats().members, 1)
    assert.equal(swarm.table.stats().items, 1)
  })
})

describe('what is left in a swarm table', () => {
  it('is nothing after everybody left', () => {
    const swarm = new TableFixture()
    for (const id of ['a', 'b', 'c']) swarm.join(id, {}, ['h'])
    for (const id of ['a', 'b', 'c']) swarm.leave(id, { type: 'cancelled' })
    swarm.table.drop('h')
    assert.deepEqual([swarm.table.stats().items, swarm.table.stats().members], [0, 0])
  })

  it('is nothing of a node that left the cluster', () => {
    const swarm = new TableFixture()
    swarm.join('a')
    swarm.join('a', { item: 'other' })
    swarm.table.drop('a')
    assert.deepEqual([swarm.table.stats().items, swarm.table.stats().members], [0, 0])
  })

  it('is nothing after everybody fell silent', () => {
    const swarm = new TableFixture()
    for (const id of ['a', 'b', 'c']) swarm.join(id)
    swarm.leave('a', { type: 'complete' })
    swarm.now += 7000
    swarm.table.expire()
    assert.equal(swarm.table.stats().members, 1)
    swarm.now += 10_000
    swarm.table.expire()
    assert.deepEqual([swarm.table.stats().items, swarm.table.stats().members], [0, 0])
  })
})

describe('whatever happens', () => {
  const id = fc.integer({ min: 0, max: 11 }).map((number) => `n${number}`)
  const position = fc.integer({ min: 0, max: 40 }).map((mebibytes) => mebibytes * MIB)
  const reason = fc.constantFrom<LeftSource['reason']>('broken', 'stalled', 'busy', 'refused', 'absent', 'wrong')
  const outcome = fc.constantFrom('complete', 'cancelled', 'suspect', 'failed')
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant('join'), id, position, reason, complains: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ type: fc.constant('report'), id, position }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('lie'), id, position, parent: id, rank: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('leave'), id, outcome }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('drop'), id }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('time'), ms: fc.integer({ min: 1, max: 3000 }) }) },
  )

  it('no answer leads in a circle, to too many children, or to a second live lease', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.nat(),
        fc.subarray(['n0', 'n1', 'h']),
        (steps, seed, holders) => play(new Model(seed, holders), steps),
      ),
      { numRuns: 300, seed: 20_260_101 },
    )
  })

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

  function play(model: Model, steps: readonly Step[]): void {
    for (const step of steps) {
      if ('complains' in step) model.join(step.id, step.position, step.complains ? step.reason : undefined)
      else if ('parent' in step) model.lie(step.id, step.position, step.parent, step.rank)
      else if ('position' in step) model.report(step.id, step.position)
      else if ('outcome' in step) model.leave(step.id, step.outcome)
      else if ('ms' in step) model.pass(step.ms)
      else model.drop(step.id)
    }
    model.pass(11 * 60_000)
    // Sources are kept until those that read from them are gone.
    model.pass(1000)
    assert.deepEqual([model.swarm.table.stats().items, model.swarm.table.stats().members], [0, 0])
  }
})

/** Members that do as they are told, so that what they believe is the tree. */
class Model {
  readonly swarm: TableFixture
  readonly #holders: readonly string[]
  readonly #parents = new Map<string, readonly string[]>()
  readonly #leases = new Map<string, Lease>()

  constructor(seed: number, holders: readonly string[]) {
    this.swarm = new TableFixture({ treeChildren: TREE_CHILDREN, random: seededRandom(seed) })
    this.#holders = holders
  }

  join(id: string, position: number, reason: LeftSource['reason'] | undefined): void {
    const parents = this.#parents.get(id) ?? []
    const left = reason === undefined ? [] : parents.map((parent) => ({ id: parent, reason }))
    const answer = this.swarm.join(id, { position, left, lease: this.#leases.get(id) }, this.#holders)
    this.#parents.delete(id)
    this.#leases.delete(id)
    if (answer.type === 'follow') {
      assert.ok(!sources(answer).includes(id), 'nobody follows itself')
      assert.ok(answer.sources.length === 1 || answer.sources.every((source) => source.complete))
      this.#parents.set(id, sources(answer))
    }
    const lease = leaseOf(answer)
    if (lease) this.#leases.set(id, lease)
    this.#check(this.#parents.get(id) ?? [])
  }

  report(id: string, position: number): void {
    const entry = { position, lease: this.#leases.get(id), parent: this.#parents.get(id)?.[0] }
    if (this.swarm.report(id, entry) === 'ask') this.join(id, position, undefined)
  }

  lie(id: string, position: number, parent: string, rank: number): void {
    this.swarm.report(id, { position, parent, lease: { epoch: 1, rank } })
    this.swarm.report(id, { position, parent })
    this.#check([])
  }

  leave(id: string, type: string): void {
    if (type === 'suspect') this.swarm.leave(id, { type, senders: [...(this.#parents.get(id) ?? [])] })
    else if (type === 'failed') this.swarm.leave(id, { type, failure: { absent: true, message: 'gone' } })
    else this.swarm.leave(id, { type: type === 'complete' ? type : 'cancelled' })
    this.#forget(id)
  }

  drop(id: string): void {
    this.swarm.table.drop(id)
    this.#forget(id)
  }

  pass(ms: number): void {
    this.swarm.now += ms
    this.swarm.table.expire()
    this.#check([])
  }

  /** `given`: the sources of the last answer. */
  #check(given: readonly string[]): void {
    const { leases, members, items } = this.swarm.table.stats()
    assert.ok(leases <= 1 && items <= 1 && members <= 13)
    const tree = this.swarm.table.tree('registry.test/app@sha256:aa')
    const parents = new Map(tree.map((member) => [member.id, member.parents]))
    const load = new Map<string, number>()
    const readers = new Map<string, number>()
    for (const [id, above] of parents) {
      assert.ok(!this.#reaches(parents, above, id), `${id} is in a circle`)
      for (const parent of above) load.set(parent, (load.get(parent) ?? 0) + 1 / above.length)
      for (const parent of above) readers.set(parent, (readers.get(parent) ?? 0) + 1)
    }
    // Who read from several takes more of each when one of them goes: only then may it be more than was handed out.
    for (const id of given) assert.ok((load.get(id) ?? 0) <= TREE_CHILDREN + 1e-9, `${id} was given too many`)
    for (const [id, count] of readers) assert.ok(count <= 4 * TREE_CHILDREN, `${id} has ${count} readers`)
  }

  #reaches(parents: ReadonlyMap<string, readonly string[]>, from: readonly string[], id: string): boolean {
    const seen = new Set(from)
    for (const above of seen) for (const next of parents.get(above) ?? []) seen.add(next)
    return seen.has(id)
  }

  #forget(id: string): void {
    this.#check([])
    this.#parents.delete(id)
    this.#leases.delete(id)
  }
}
