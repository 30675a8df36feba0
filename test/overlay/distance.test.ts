import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { closestTo, compareDistance, kadIdOf } from '../../src/overlay/distance.ts'

const kadIds = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe('distance', () => {
  it('is that of XOR read as a big-endian number', () => {
    const xor = (a: Uint8Array, b: Uint8Array) =>
      BigInt(`0x${Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0))).toHex()}`)
    fc.assert(
      fc.property(kadIds, kadIds, kadIds, (target, a, b) => {
        const [left, right] = [xor(a, target), xor(b, target)]
        assert.equal(Math.sign(compareDistance(target, a, b)), left < right ? -1 : left > right ? 1 : 0)
      }),
    )
  })

  it('finds the closest as sorting them all would', () => {
    fc.assert(
      fc.property(kadIds, fc.array(kadIds, { maxLength: 40 }), fc.nat({ max: 45 }), (target, ids, count) => {
        const nodes = ids.map((kadId) => ({ kadId }))
        const sorted = [...nodes].sort((a, b) => compareDistance(target, a.kadId, b.kadId))
        assert.deepEqual(closestTo(target, nodes, count), sorted.slice(0, count))
      }),
    )
  })

  it('hashes into the key space as kad-dht does', () => {
    assert.equal(
      Buffer.from(kadIdOf(Buffer.from('abc'))).toString('hex'),
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
})
