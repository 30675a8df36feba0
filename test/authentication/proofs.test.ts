import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  answerProof,
  hashBody,
  gateKey,
  isProofOf,
  passesGate,
  readRequestProof,
  writeRequestProof,
} from '../../src/authentication/proofs.ts'

const pair = Buffer.alloc(32, 1)
const gate = gateKey(Buffer.alloc(32, 2))
const claim = {
  from: 'alice',
  to: 'bob',
  session: '0'.repeat(16),
  incarnation: 7,
  counter: 1,
  bodyHash: hashBody(new Uint8Array()),
}

function head(headers: Readonly<Record<string, string>> = {}) {
  return { method: 'GET', target: '/v2/', header: (name: string) => headers[name] }
}

describe('the proof of a request', () => {
  const { authorization } = writeRequestProof(claim, head(), { pair, gate })

  it('passes the cheap check for its own sender only', () => {
    const proof = readRequestProof(authorization)
    const invented = readRequestProof(authorization.replace('from=alice', 'from=mallory'))
    assert.ok(proof && invented)
    assert.equal(passesGate(proof, gate), true)
    assert.equal(passesGate(invented, gate), false)
  })

  it('tells a header without a value from an absent one', () => {
    const proof = readRequestProof(authorization)
    assert.ok(proof)
    assert.equal(isProofOf(proof, head(), pair), true)
    for (const name of ['range', 'nabo-verified', 'nabo-record'])
      assert.equal(isProofOf(proof, head({ [name]: '' }), pair), false, name)
  })
})

describe('the proof of an answer', () => {
  it('tells a header without a value from an absent one', () => {
    const prove = (headers: Readonly<Record<string, string>>) => answerProof(pair, 'mac', 404, (name) => headers[name])
    assert.notEqual(prove({ 'nabo-absent': '' }), prove({}))
  })
})
