import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { NO_SECRET, PairKeys } from '../../src/authentication/pair-keys.ts'
import { gateKey } from '../../src/authentication/proofs.ts'
import { RequestSigner } from '../../src/authentication/request-signer.ts'
import { TestMember } from '../support/test-member.ts'

describe('a signer of requests', () => {
  it('never makes the same request twice, though it has forgotten the target', async () => {
    const [self, a, b] = [await TestMember.create(), await TestMember.create(), await TestMember.create()]
    const { local, members } = self.authentication
    const keys = new PairKeys(local.identity, [NO_SECRET])
    const signer = new RequestSigner({ local, keys, gate: gateKey(NO_SECRET), members, limit: 1 })
    const sign = (id: string) =>
      signer.sign(id, { method: 'HEAD', target: '/v2/', headers: {}, body: new Uint8Array() })?.headers['authorization']
    const first = sign(a.id)
    assert.ok(first)
    sign(b.id)
    assert.notEqual(sign(a.id), first)
  })
})
