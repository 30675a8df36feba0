import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import type { MessageSender } from '../../src/membership/message-sender.ts'
import type { Peer } from '../../src/overlay/overlay.ts'
import { type Claimant, ClaimTable } from '../../src/providers/claim-table.ts'
import { keyNamed, keysNamed } from '../support/index-keys.ts'
import { eventually } from '../support/index-network.ts'

const WIDE = { maxClaims: 1_000_000, maxClaimsPerPeer: 1_000_000, maxClaimsPerAddress: 1_000_000 }

function peerNamed(id: string, remoteAddress = '10.0.0.1'): MessageSender {
  return { id, address: '10.0.0.1:7951', remoteAddress }
}

function idsOf(peers: readonly Peer[]): string[] {
  return peers.map((peer) => peer.id).sort()
}

describe('a claim table', () => {
  it('knows who claims a key', () => {
    const table = new ClaimTable(WIDE)
    const [a, b] = [table.open(peerNamed('a')), table.open(peerNamed('b'))]
    table.add(a, keyNamed(1))
    table.add(b, keyNamed(1))
    table.add(b, keyNamed(1))
    table.add(b, keyNamed(2))
    assert.deepEqual(idsOf(table.find(keyNamed(1))), ['a', 'b'])
    assert.deepEqual(idsOf(table.find(keyNamed(2))), ['b'])
    assert.deepEqual(table.find(keyNamed(3)), [])
    assert.equal(table.claims, 3)
  })

  it('drops all claims of a peer at once, and frees them soon', async () => {
    const table = new ClaimTable(WIDE)
    const [a, b] = [table.open(peerNamed('a')), table.open(peerNamed('b'))]
    for (const key of keysNamed('k', 20_000)) table.add(a, key)
    table.add(b, keyNamed('k-0'))
    table.drop(a)
    assert.deepEqual(idsOf(table.find(keyNamed('k-0'))), ['b'])
    assert.equal(table.claims, 1)
    await eventually(() => assert.equal(table.keys, 1))
  })

  it('names a peer once while its old claims give way to new ones', () => {
    const table = new ClaimTable(WIDE)
    const [before, now] = [table.open(peerNamed('a')), table.open(peerNamed('a'))]
    table.add(before, keyNamed(1))
    table.add(now, keyNamed(1))
    assert.deepEqual(idsOf(table.find(keyNamed(1))), ['a'])
  })

  it('gives all peers behind one address one budget, however many they are', () => {
    const table = new ClaimTable({ maxClaims: 100, maxClaimsPerPeer: 10, maxClaimsPerAddress: 15 })
    const invented = Array.from({ length: 20 }, (_, n) => table.open(peerNamed(`invented-${n}`)))
    for (const [n, claimant] of invented.entries()) for (const key of keysNamed(`${n}`, 10)) table.add(claimant, key)
    assert.equal(table.claims, 15)
    const honest = table.open(peerNamed('honest', '10.0.0.2'))
    for (const key of keysNamed('k', 10)) table.add(honest, key)
    assert.equal(honest.claims, 10)
    for (const claimant of invented) table.drop(claimant)
    const later = table.open(peerNamed('later'))
    for (const key of keysNamed('k', 10)) table.add(later, key)
    assert.equal(later.claims, 10, 'what is dropped is free again')
  })

  it('takes no more than its limits, and counts the rest', () => {
    const table = new ClaimTable({ maxClaims: 15, maxClaimsPerPeer: 10, maxClaimsPerAddress: 1_000_000 })
    const [a, b] = [table.open(peerNamed('a')), table.open(peerNamed('b'))]
    for (const key of keysNamed('k', 12)) table.add(a, key)
    for (const key of keysNamed('k', 12)) table.add(b, key)
    assert.equal(a.claims, 10)
    assert.equal(b.claims, 5)
    assert.equal(table.ignored, 2 + 7)
    table.remove(a, keyNamed('k-0'))
    table.add(b, keyNamed('k-9'))
    assert.deepEqual(idsOf(table.find(keyNamed('k-9'))), ['a', 'b'])
  })

  it('agrees with a simple set of pairs', () => {
    const ids = Array.from({ length: 40 }, (_, n) => `p${n}`)
    const step = fc.record({
      kind: fc.constantFrom('add', 'add', 'add', 'remove', 'drop'),
      id: fc.constantFrom(...ids),
      key: fc.integer({ min: 0, max: 3 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
        const table = new ClaimTable(WIDE)
        const claimants = new Map<string, Claimant>()
        const model = new Map<string, Set<number>>(ids.map((id) => [id, new Set()]))
        for (const { kind, id, key } of steps) {
          const claimant = claimants.get(id) ?? table.open(peerNamed(id))
          claimants.set(id, claimant)
          if (kind === 'add') {
            table.add(claimant, keyNamed(key))
            model.get(id)?.add(key)
          } else if (kind === 'remove') {
            table.remove(claimant, keyNamed(key))
            model.get(id)?.delete(key)
          } else {
            table.drop(claimant)
            claimants.delete(id)
            model.get(id)?.clear()
          }
        }
        for (const key of [0, 1, 2, 3]) {
          assert.deepEqual(idsOf(table.find(keyNamed(key))), ids.filter((id) => model.get(id)?.has(key)).sort())
        }
        assert.equal(
          table.claims,
          [...model.values()].reduce((sum, keys) => sum + keys.size, 0),
        )
      }),
      { numRuns: 100 },
    )
  })
})
