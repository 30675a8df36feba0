import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'

import { ProofTable } from '../../../src/delivery/access/proof-table.ts'

const app = 'docker.io/library/app'
const other = 'docker.io/library/app-too'
const [one, two, three] = ['sha256:1', 'sha256:2', 'sha256:3'] as const
const MAX_PROOFS = 20_000

describe('a table of proofs', () => {
  let table: ProofTable
  beforeEach(() => {
    table = new ProofTable()
  })

  const entries = (max = 100) => [...table.entries(max)]

  it('has the time of a proof by repository and digest', () => {
    table.set(app, one, 5)
    assert.equal(table.get(app, one), 5)
    assert.equal(table.get(app, two), undefined)
    assert.equal(table.get(other, one), undefined)
  })

  it('keeps the later of two times', () => {
    table.set(app, one, 5)
    table.set(app, one, 3)
    assert.equal(table.get(app, one), 5)
    table.set(app, one, 8)
    assert.equal(table.get(app, one), 8)
  })

  it('keeps times before the start of the clock', () => {
    table.set(app, one, -5)
    assert.equal(table.get(app, one), -5)
    assert.deepEqual(entries(), [[app, [[one, -5]]]])
  })

  it('forgets one digest of one repository', () => {
    for (const repository of [app, other]) for (const digest of [one, two]) table.set(repository, digest, 5)
    table.delete(app, one)
    assert.deepEqual(entries(), [
      [other, [two, one].map((digest) => [digest, 5])],
      [app, [[two, 5]]],
    ])
    // An earlier time counts again.
    table.set(app, one, 2)
    assert.equal(table.get(app, one), 2)
  })

  it('forgets all of one repository, and nothing of one whose name begins alike', () => {
    for (const repository of [app, other]) for (const digest of [one, two, three]) table.set(repository, digest, 5)
    table.drop(app)
    for (const digest of [one, two, three]) {
      assert.equal(table.get(app, digest), undefined)
      assert.equal(table.get(other, digest), 5)
    }
    table.drop(app)
    for (const since of [6, 7]) table.set(app, two, since)
    assert.equal(table.get(app, two), 7)
    table.drop(app)
    assert.equal(table.get(app, two), undefined)
  })

  it('forgets what it does not have', () => {
    table.delete(app, one)
    table.drop(app)
    assert.deepEqual(entries(), [])
  })

  it('lists by repository, the most recently used first', () => {
    table.set(app, one, 1)
    table.set(other, one, 2)
    table.set(app, two, 3)
    assert.deepEqual(entries(), [
      [
        app,
        [
          [two, 3],
          [one, 1],
        ],
      ],
      [other, [[one, 2]]],
    ])
    table.get(other, one)
    assert.deepEqual(
      entries().map(([repository]) => repository),
      [other, app],
    )
  })

  it('lists no more than it is asked for, of all repositories together', () => {
    for (const repository of [app, other]) for (const digest of [one, two]) table.set(repository, digest, 5)
    assert.deepEqual(entries(3), [
      [other, [two, one].map((digest) => [digest, 5])],
      [app, [[two, 5]]],
    ])
    assert.deepEqual(entries(0), [])
  })

  it('reads host and port of a registry as part of the repository', () => {
    const local = '[::1]:5000/team/app'
    table.set(local, one, 5)
    assert.deepEqual(entries(), [[local, [[one, 5]]]])
    table.drop(local)
    assert.deepEqual(entries(), [])
  })

  it('is bounded: the least recently used goes first', () => {
    table.set(app, one, 1)
    table.set(other, one, 2)
    for (let index = 0; index < MAX_PROOFS - 2; index += 1) table.set('reg.test/x', String(index), index)
    table.get(app, one)
    table.set('reg.test/x', 'one more', 3)
    assert.equal(table.get(other, one), undefined)
    assert.equal(table.get(app, one), 1)
    table.set('reg.test/x', 'and another', 4)
    assert.equal(table.get('reg.test/x', '0'), undefined)
    const listed = entries(2 * MAX_PROOFS)
    assert.equal(
      listed.reduce((sum, [, proofs]) => sum + proofs.length, 0),
      MAX_PROOFS,
    )
    table.drop('reg.test/x')
    assert.deepEqual(entries(MAX_PROOFS), [[app, [[one, 1]]]])
  })
})
