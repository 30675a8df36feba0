import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ClaimReceiver } from '../../src/providers/claim-receiver.ts'
import { ClaimTable } from '../../src/providers/claim-table.ts'
import type { MessageSender } from '../../src/membership/message-sender.ts'
import type { Announcement, Claims } from '../../src/providers/messages.ts'
import { keyNamed } from '../support/index-keys.ts'
import { eventually } from '../support/index-network.ts'

const peer = { id: 'a', address: '10.0.0.1:7951', remoteAddress: '10.0.0.1' }
const [one, two, three] = [keyNamed(1), keyNamed(2), keyNamed(3)]
const OK = { type: 'ok' }
const RESYNC = { type: 'resync' }

function setUp() {
  const table = new ClaimTable({ maxClaims: 100, maxClaimsPerPeer: 100, maxClaimsPerAddress: 100 })
  const receiver = new ClaimReceiver(table, 'self')
  const apply = (message: Announcement, from: MessageSender = peer) => receiver.apply(message, from)
  return { table, receiver, apply }
}

function claims(seq: number, fields: Partial<Claims> = {}): Claims {
  return {
    type: 'claims',
    epoch: '0000000000000001',
    seq,
    after: seq - 1,
    full: false,
    more: false,
    scope: 'all',
    ttl: 60_000,
    add: [],
    remove: [],
    ...fields,
  }
}

describe('the receiver of announcements', () => {
  it('asks for the full set when a step does not fit the one before', () => {
    const { table, receiver, apply } = setUp()
    assert.deepEqual(apply(claims(2, { add: [one] })), RESYNC)
    assert.deepEqual(apply(claims(3, { full: true, add: [one] })), OK)
    assert.deepEqual(apply(claims(5, { add: [two] })), RESYNC)
    assert.deepEqual(apply(claims(4, { epoch: '0000000000000002', add: [two] })), RESYNC)
    assert.deepEqual(table.find(two), [])
    assert.equal(receiver.resyncs, 3)
  })

  it('takes a repetition for done, and does nothing', () => {
    const { table, apply } = setUp()
    apply(claims(1, { full: true, add: [one] }))
    apply(claims(2, { remove: [one] }))
    assert.deepEqual(apply(claims(1, { full: true, add: [one] })), OK)
    assert.deepEqual(apply(claims(2, { add: [one] })), OK)
    assert.deepEqual(table.find(one), [])
  })

  it('believes the old claims until the new full set is complete', () => {
    const { table, receiver, apply } = setUp()
    apply(claims(1, { full: true, add: [one, two] }))
    apply(claims(5, { full: true, more: true, add: [three] }))
    assert.equal(receiver.isComplete('a'), false)
    assert.deepEqual(
      [one, two, three].map((key) => table.find(key).length),
      [1, 1, 1],
    )
    apply(claims(6, { add: [two] }))
    assert.equal(receiver.isComplete('a'), true)
    assert.deepEqual(
      [one, two, three].map((key) => table.find(key).length),
      [0, 1, 1],
    )
    assert.equal(table.claims, 2)
  })

  it('does not count a peer as heard that sends only what is placed here', () => {
    const { receiver, apply } = setUp()
    apply(claims(1, { full: true, scope: 'placed', add: [one] }))
    assert.equal(receiver.isComplete('a'), false)
  })

  it('drops a peer that leaves, and nothing overtaken brings its claims back', () => {
    const { table, receiver, apply } = setUp()
    apply(claims(1, { full: true, add: [one] }))
    apply({ type: 'leaving', epoch: '0000000000000009' })
    assert.equal(table.find(one).length, 1, 'that was another life of the peer')
    apply({ type: 'leaving', epoch: '0000000000000001' })
    assert.deepEqual(table.find(one), [])
    assert.equal(receiver.isComplete('a'), true)
    apply(claims(2, { add: [two] }))
    assert.deepEqual(table.find(two), [])
    apply(claims(1, { epoch: '0000000000000002', full: true, add: [three] }))
    assert.equal(table.find(three).length, 1)
  })

  it('ignores a node that has this node’s own id', () => {
    const { table, apply } = setUp()
    assert.deepEqual(apply(claims(1, { full: true, add: [one] }), { ...peer, id: 'self' }), OK)
    assert.equal(table.claims, 0)
  })

  it('takes a full set for its sender alone', () => {
    const { table, apply } = setUp()
    const other = { id: 'b', address: peer.address, remoteAddress: peer.remoteAddress }
    apply(claims(1, { full: true, add: [one] }))
    apply(claims(9, { full: true, add: [two] }), other)
    assert.deepEqual(
      [one, two].map((key) => table.find(key).map(({ id }) => id)),
      [['a'], ['b']],
    )
  })

  it('caps the lifetime that a peer asks for', (context) => {
    const { table, receiver, apply } = setUp()
    const start = performance.now()
    apply(claims(1, { full: true, ttl: 3_600_000, add: [one] }))
    context.mock.method(performance, 'now', () => start + 10 * 60_000)
    receiver.expire()
    assert.deepEqual(table.find(one), [])
  })

  it('drops a peer after its ttl, the half of a full set included', async () => {
    const { table, receiver, apply } = setUp()
    apply(claims(1, { full: true, add: [one] }))
    apply(claims(2, { full: true, more: true, ttl: 20, add: [two] }))
    await eventually(() => {
      receiver.expire()
      assert.equal(table.claims, 0)
    })
    assert.deepEqual(apply(claims(3)), RESYNC)
  })
})
