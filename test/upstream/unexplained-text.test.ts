import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { outcomeOf } from '../../src/delivery/blobs/blob-refusal.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { ToldFailureError } from '../../src/swarm/told-failure.ts'
import { explainRefusal } from '../../src/upstream/registry/explain-refusal.ts'
import { unexplainedText } from '../../src/upstream/unexplained-text.ts'
import { UpstreamError } from '../../src/upstream/upstream.ts'

describe('an error of the upstream in words for other nodes', () => {
  const denial = new UpstreamError('denied', 'r.example denies access: 401', { status: 401 })
  const credential = { username: 'robot', password: 'wrong' }
  const refusal = explainRefusal(denial, { credential, isNodes: true }, true)

  it("has nothing about this node's credentials, which the other node would take for its own", () => {
    assert.match(refusal.message, /own credentials, see nabo doctor/)
    const request = { repository: { registry: 'r.example', name: 'app' }, digest: digestOf(Buffer.from('layer')) }
    const outcome = outcomeOf(request, { absent: false, error: refusal })
    assert.ok(outcome.type === 'failed')
    const { message } = new ToldFailureError({ failure: outcome.failure, isOwn: false })
    assert.equal(message, 'another node says: r.example denies access: 401')
  })

  it('keeps the cause where there is no explanation', () => {
    const cause = new Error('ECONNREFUSED')
    const error = new UpstreamError('unreachable', 'r.example cannot be reached', { cause })
    assert.equal(unexplainedText(error), 'r.example cannot be reached: ECONNREFUSED')
  })
})
