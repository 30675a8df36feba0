import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Sender } from '../../../src/delivery/blobs/blob-trace.ts'
import { verifiedChunks, WrongBytesError } from '../../../src/delivery/integrity/verified-stream.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251))
const SENDERS: Sender[] = [{ peer: { id: 'a', address: '10.0.0.1:7951' }, complete: true }]

/** Reads all that comes, and says how it ended. */
async function read(chunks: Iterable<Uint8Array>, options: { algorithm?: 'sha256' | 'sha512'; size?: number } = {}) {
  const digest = digestOf(BYTES, options.algorithm)
  const got: Uint8Array[] = []
  let verified = 0
  let error: unknown
  try {
    const source = (async function* () {
      yield* chunks
    })()
    const { size = BYTES.length } = options
    const stream = verifiedChunks(source, { digest, size, senders: () => SENDERS, onVerified: () => verified++ })
    for await (const chunk of stream) got.push(chunk)
  } catch (caught) {
    error = caught
  }
  return { bytes: Buffer.concat(got), verified, error }
}

const split = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))

describe('a blob that is hashed on its way', () => {
  it('comes through whole if it is right, by either algorithm and however it is cut', async () => {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      for (const size of [1, 300, 1000, 5000]) {
        const { bytes, verified, error } = await read(split(BYTES, size), { algorithm })
        assert.equal(error, undefined)
        assert.deepEqual(bytes, BYTES)
        assert.equal(verified, 1)
      }
    }
    assert.deepEqual((await read([BYTES, Buffer.of()])).bytes, BYTES)
  })

  it('never looks complete if it is wrong, and says who sent it', async () => {
    const wrong = Buffer.from(BYTES)
    wrong[3] = 255
    for (const size of [1, 300, 1000]) {
      const { bytes, verified, error } = await read([...split(wrong, size), Buffer.of()])
      assert.ok(bytes.length < BYTES.length)
      assert.equal(verified, 0)
      assert.ok(error instanceof WrongBytesError)
      assert.deepEqual(error.senders, SENDERS)
    }
  })

  it('is wrong if it ends early or goes on after its end', async () => {
    for (const chunks of [[], split(BYTES, 300).slice(0, 3), [...split(BYTES, 300), Buffer.of(1)]]) {
      const { bytes, error } = await read(chunks)
      assert.ok(error instanceof WrongBytesError)
      assert.ok(bytes.length < BYTES.length)
    }
  })

  it('breaks off with the error of its source', async () => {
    const failing = (function* () {
      yield BYTES.subarray(0, 500)
      throw new Error('the line is cut')
    })()
    const { error } = await read(failing)
    assert.match(String(error), /the line is cut/)
  })
})
