import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import type { IndexKey } from '../../src/overlay/overlay.ts'
import { Journal, type JournalCursor } from '../../src/providers/journal.ts'
import { keyNamed, keysNamed } from '../support/index-keys.ts'

const [a, b, c] = [keyNamed('a'), keyNamed('b'), keyNamed('c')]

/** Reads as a feed does: from the beginning if the place is lost. */
function follow(cursor: JournalCursor, copy: Set<IndexKey>, limit: number): void {
  if (cursor.lost) {
    cursor.rewind()
    copy.clear()
  }
  const { add, remove } = cursor.read(limit)
  for (const key of remove) copy.delete(key)
  for (const key of add) copy.add(key)
}

/** Enough changes for the log to be rewritten. */
function churn(journal: Journal, model: Set<IndexKey>, key: IndexKey): void {
  for (let n = 0; n < 2_100; n++) {
    journal.add(key)
    journal.remove(key)
  }
  model.delete(key)
}

describe('a journal', () => {
  it('gives a new reader everything, then what changed', () => {
    const journal = new Journal()
    journal.add(a)
    journal.add(b)
    const cursor = journal.open()
    assert.deepEqual(cursor.read(10), { add: [a, b], remove: [] })
    assert.equal(cursor.behind, false)
    journal.remove(a)
    journal.add(c)
    assert.equal(cursor.behind, true)
    assert.deepEqual(cursor.read(10), { add: [c], remove: [a] })
  })

  it('says only the end of what happened to a key between two readings', () => {
    const journal = new Journal()
    const cursor = journal.open()
    journal.add(a)
    journal.remove(a)
    journal.add(b)
    journal.remove(b)
    journal.add(b)
    assert.deepEqual(cursor.read(10), { add: [b], remove: [a] })
  })

  it('does not bother a reader that begins anew with old removals', () => {
    const journal = new Journal()
    journal.add(a)
    journal.remove(a)
    const cursor = journal.open()
    assert.deepEqual(cursor.read(10), { add: [], remove: [] })
    journal.add(b)
    journal.remove(b)
    cursor.rewind()
    assert.deepEqual(cursor.read(10), { add: [], remove: [] })
  })

  it('knows whether a key was new or there', () => {
    const journal = new Journal()
    assert.equal(journal.add(a), true)
    assert.equal(journal.add(a), false)
    assert.equal(journal.remove(a), true)
    assert.equal(journal.remove(a), false)
    assert.equal(journal.size, 0)
  })

  it('is rewritten under endless change, and tells the readers that were behind', () => {
    const journal = new Journal()
    const idle = journal.open()
    const busy = journal.open()
    const copy = new Set<IndexKey>()
    journal.add(c)
    for (let round = 0; round < 20_000; round++) {
      journal.add(a)
      journal.remove(a)
      follow(busy, copy, 100)
      assert.equal(busy.lost, false)
    }
    assert.equal(idle.lost, true)
    idle.rewind()
    assert.deepEqual(idle.read(10), { add: [c], remove: [] })
    assert.deepEqual([...copy], [c])
  })

  it('leads every reader to the same set, whatever happens in between', () => {
    const keys = keysNamed('k', 12)
    const step = fc.record({
      kind: fc.constantFrom('add', 'remove', 'read first', 'read second', 'burst'),
      key: fc.constantFrom(...keys),
      limit: fc.integer({ min: 1, max: 5 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const journal = new Journal()
        const model = new Set<IndexKey>()
        const readers = [journal.open(), journal.open()].map((cursor) => ({ cursor, copy: new Set<IndexKey>() }))
        for (const { kind, key, limit } of steps) {
          if (kind === 'add') assert.equal(journal.add(key), !model.has(key) && model.add(key).has(key))
          else if (kind === 'remove') assert.equal(journal.remove(key), model.delete(key))
          else if (kind === 'burst') churn(journal, model, key)
          else
            follow(readers[kind === 'read first' ? 0 : 1]!.cursor, readers[kind === 'read first' ? 0 : 1]!.copy, limit)
        }
        for (const { cursor, copy } of readers) {
          while (cursor.behind) follow(cursor, copy, 3)
          assert.deepEqual([...copy].sort(), [...model].sort())
        }
        assert.deepEqual([...journal.keys()].sort(), [...model].sort())
      }),
      { numRuns: 60 },
    )
  })
})
