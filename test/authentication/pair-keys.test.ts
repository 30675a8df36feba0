import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'

import { NO_SECRET, PairKeys } from '../../src/authentication/pair-keys.ts'
import { NodeIdentity } from '../../src/membership/node-identity.ts'

const identity = async () => new NodeIdentity(await generateKeyPair('Ed25519'))

describe('the keys of two nodes', () => {
  it('are the same on both sides, one for each secret, and others with another secret or node', async () => {
    const [a, b, c] = [await identity(), await identity(), await identity()]
    const [old, next] = [randomBytes(32), randomBytes(32)]
    const [first, second] = new PairKeys(a, [old, next]).of(b.id)
    assert.deepEqual(new PairKeys(b, [next]).of(a.id), [second])
    assert.notDeepEqual(first, second)
    assert.notDeepEqual(new PairKeys(a, [old]).of(c.id), [first])
    assert.equal(new PairKeys(a, [NO_SECRET]).of(b.id).length, 1)
    assert.deepEqual(new PairKeys(a, [old]).of('nobody'), [])
  })
})
