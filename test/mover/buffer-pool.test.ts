import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { BufferPool } from '../../src/mover/buffer-pool.ts'

describe('a pool of buffers', () => {
  it('reads into memory again that was given back, once', () => {
    const pool = new BufferPool({ bufferBytes: 16 })
    const buffer = pool.take()
    const chunk = pool.lend(buffer, 10)
    assert.equal(chunk.length, 10)
    assert.notEqual(pool.take(), buffer)
    pool.giveBack(chunk)
    pool.giveBack(chunk)
    assert.equal(pool.take(), buffer)
    assert.notEqual(pool.take(), buffer)
  })

  it('leaves alone what it did not lend: parts of a chunk, other memory', () => {
    const pool = new BufferPool({ bufferBytes: 16 })
    const buffer = pool.take()
    const chunk = pool.lend(buffer, 16)
    for (const other of [chunk.subarray(0), chunk.subarray(4), Buffer.alloc(16)]) pool.giveBack(other)
    assert.notEqual(pool.take(), buffer)
  })

  it('keeps a bounded number, all of one size', () => {
    const pool = new BufferPool({ bufferBytes: 16, maxFree: 1 })
    const [first, second] = [pool.take(), pool.take()]
    pool.putBack(Buffer.alloc(8))
    pool.putBack(first)
    pool.putBack(second)
    assert.equal(pool.take(), first)
    assert.notEqual(pool.take(), second)
  })
})
