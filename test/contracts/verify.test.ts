import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { InvalidMessage } from '../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { answered, decoded, encoded } from '../support/wire.ts'

const VERIFY = NODE_PROTOCOL.verify

describe('a request to hash a blob', () => {
  it('carries the digest of either algorithm', () => {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const request = { digest: digestOf(Buffer.from('a blob'), algorithm), waits: true }
      assert.deepEqual(decoded(VERIFY.request, encoded(VERIFY.request, request)), request)
    }
  })

  it('of an older version does not wait for the verdict', () => {
    const digest = digestOf(Buffer.from('a blob'))
    assert.deepEqual(decoded(VERIFY.request, JSON.stringify({ digest })), { digest, waits: false })
  })

  it('is refused without a digest', () => {
    for (const digest of ['', 'latest', 'sha256:short', `sha256:${'G'.repeat(64)}`, 'x'.repeat(500)])
      assert.throws(() => decoded(VERIFY.request, JSON.stringify({ digest, waits: false })), InvalidMessage)
  })

  it('is answered with the verdict, if the node knows it in time', async () => {
    const request = { digest: digestOf(Buffer.from('a blob')), waits: true }
    for (const verdict of ['sound', 'damaged', 'absent', undefined] as const) {
      const answer = await answered(VERIFY, request, encoded(VERIFY.answer, { accepted: true, verdict }))
      assert.equal(answer.verdict, verdict)
    }
    for (const body of ['', '[]', '{"accepted":"yes"}', '{"accepted":true,"x":1}', `"${'x'.repeat(2000)}"`])
      await assert.rejects(answered(VERIFY, request, body), InvalidMessage)
  })
})
