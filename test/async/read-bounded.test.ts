import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'

import { TooManyBytesError, readBounded } from '../../src/async/read-bounded.ts'

describe('a bounded read', () => {
  const chunks = [Buffer.from('ab'), Buffer.from('c')]

  it('returns all bytes of a stream that has no more than the limit', async () => {
    assert.equal((await readBounded(Readable.from(chunks), 3)).toString(), 'abc')
    assert.equal((await readBounded(Readable.from([]), 0)).length, 0)
  })

  it('throws and destroys the stream at the first byte above the limit', async () => {
    const stream = Readable.from([...chunks, Buffer.from('never read')])
    await assert.rejects(readBounded(stream, 2), (error) => error instanceof TooManyBytesError && error.limit === 2)
    assert.equal(stream.destroyed, true)
  })

  it('throws the error of the stream', async () => {
    async function* broken() {
      yield Buffer.from('ab')
      throw new Error('connection reset')
    }
    await assert.rejects(readBounded(broken(), 3), /connection reset/)
  })
})
