import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair, publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey, peerIdFromPublicKey } from '@libp2p/peer-id'

import { NodeIdentity, hasSigned } from '../../src/membership/node-identity.ts'

const identity = async () => new NodeIdentity(await generateKeyPair('Ed25519'))

/** Points of small order on Ed25519, as a stranger could choose for a public key: https://cr.yp.to/ecdh.html#validate */
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
]

describe('the identity of a node', () => {
  it('agrees with another one on a secret that a third does not have', async () => {
    const [a, b, c] = [await identity(), await identity(), await identity()]
    assert.deepEqual(a.agree(b.id), b.agree(a.id))
    assert.notDeepEqual(a.agree(b.id), a.agree(c.id))
    assert.equal(a.agree(b.id)?.length, 32)
  })

  it('refuses public keys of small order, for which everybody knows the secret', async () => {
    const a = await identity()
    for (const key of SMALL_ORDER) {
      const id = peerIdFromPublicKey(publicKeyFromRaw(Buffer.from(key, 'hex'))).toString()
      assert.equal(a.agree(id), undefined, key)
    }
  })

  it('refuses ids that are no Ed25519 peer ids', async () => {
    const a = await identity()
    const other = peerIdFromPrivateKey(await generateKeyPair('secp256k1')).toString()
    for (const id of ['', 'a', '12D3KooW', 'x'.repeat(128), '../..', other]) {
      assert.equal(a.agree(id), undefined, id)
      assert.equal(hasSigned(id, Buffer.from('x'), Buffer.alloc(64)), false)
    }
  })

  it('signs, and nobody else does', async () => {
    const [a, b] = [await identity(), await identity()]
    const bytes = Buffer.from('some bytes')
    const signature = a.sign(bytes)
    assert.ok(hasSigned(a.id, bytes, signature))
    assert.ok(!hasSigned(b.id, bytes, signature))
    assert.ok(!hasSigned(a.id, Buffer.from('other bytes'), signature))
    assert.ok(!hasSigned(a.id, bytes, signature.subarray(1)))
  })
})
