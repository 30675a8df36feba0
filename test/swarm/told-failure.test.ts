import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { outcomeOf } from '../../src/delivery/blobs/blob-refusal.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { ToldFailureError } from '../../src/swarm/told-failure.ts'
import { UpstreamError } from '../../src/upstream/upstream.ts'

const request = {
  repository: { registry: 'hub.test', name: 'app' },
  digest: digestOf(Buffer.from('blob')),
  caller: undefined,
}
const told = (message: string, isOwn = false) => new ToldFailureError({ failure: { absent: false, message }, isOwn })

describe('a failure that another node tells', () => {
  it('is said to be so, in one bounded line', () => {
    assert.equal(told('hub.test answered 503').message, 'another node says: hub.test answered 503')
    assert.equal(told('run\r\n\u001b[31mthis ').message, 'another node says: run [31mthis')
    assert.equal(told('x'.repeat(200)).message, `another node says: ${'x'.repeat(200)}`)
    assert.equal(told('x'.repeat(300)).message, `another node says: ${'x'.repeat(199)}…`)
  })

  it('is not said to be another node’s if this node has reported it', () => {
    assert.equal(told('hub.test answered 503', true).message, 'hub.test answered 503')
  })

  it('is not told to a third node', () => {
    assert.deepEqual(outcomeOf(request, { absent: false, error: told('invented') }), {
      type: 'failed',
      failure: { absent: false, message: 'the upstream did not give it' },
    })
  })

  it('is no range past the end: that is one client, and no failure of the blob', () => {
    const error = new UpstreamError('failed', 'hub.test answered 416', { status: 416 })
    assert.deepEqual(outcomeOf(request, { absent: false, error }), { type: 'cancelled' })
  })
})
