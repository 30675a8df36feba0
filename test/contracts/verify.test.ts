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
      const request = { digest: digestOf(Buffer.from('a blob'), algorithm) }
      assert.deepEqual(decoded(VERIFY.request, encoded(VERIFY.request, request)), request)
    }
  })

  it('is refused without a digest', () => {
    for (const digest of ['', 'latest', 'sha256:short', `sha256:${'G'.repeat(64)}`, 'x'.repeat(500)])
      assert.throws(() => decoded(VERIFY.request, JSON.stringify({ digest })), InvalidMessage)
  })

  it('is answered with whether the node is going to do it', async () => {
    const request = { digest: digestOf(Buffer.from('a blob')) }
    for (const accepted of [true, false])
      assert.deepEqual(await answered(VERIFY, request, encoded(VERIFY.answer, { accepted })), { accepted })
    for (const body of ['', '[]', '{"accepted":"yes"}', '{"accepted":true,"x":1}', `"${'x'.repeat(2000)}"`])
      await assert.rejects(answered(VERIFY, request, body), InvalidMessage)
  })
})
