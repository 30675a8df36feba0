import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import type { Peer } from '../../src/overlay/overlay.ts'
import { InvalidMessage } from '../../src/contracts/message.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import {
  type Claims,
  MAX_ANNOUNCED_KEYS,
  MAX_LOOKUP_KEYS,
  MAX_PROVIDERS_PER_KEY,
} from '../../src/providers/messages.ts'
import { packKeys } from '../../src/providers/packed-keys.ts'
import { keyNamed, keysNamed } from '../support/index-keys.ts'
import { answered, decoded, encoded } from '../support/wire.ts'

const ANNOUNCE = NODE_PROTOCOL.announce
const LOOKUP = NODE_PROTOCOL.lookup

const PLAIN = { noNullPrototype: true } as const
const key = fc.nat().map(keyNamed)
const peer: fc.Arbitrary<Peer> = fc.record(
  {
    id: fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/),
    address: fc.oneof(
      fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => `${host}:${port}`),
      fc.tuple(fc.ipV6(), fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => `[${host}]:${port}`),
    ),
  },
  PLAIN,
)
const epoch = fc.stringMatching(/^[0-9a-f]{16}$/)
const claims: fc.Arbitrary<Claims> = fc.record(
  {
    type: fc.constant('claims'),
    epoch,
    seq: fc.integer({ min: 1 }),
    after: fc.nat(),
    full: fc.boolean(),
    more: fc.boolean(),
    scope: fc.constantFrom('all', 'placed'),
    ttl: fc.integer({ min: 1, max: 3_600_000 }),
    add: fc.array(key, { maxLength: 20 }),
    remove: fc.array(key, { maxLength: 20 }),
  },
  PLAIN,
)
const leaving = fc.record({ type: fc.constant('leaving'), epoch }, PLAIN)

const sample: Claims = {
  type: 'claims',
  epoch: '0123456789abcdef',
  seq: 2,
  after: 1,
  full: false,
  more: false,
  scope: 'all',
  ttl: 60_000,
  add: [keyNamed(1)],
  remove: [],
}

function refuses(change: Record<string, unknown>): void {
  const body = JSON.stringify({ ...JSON.parse(encoded(ANNOUNCE.request, sample)), ...change })
  assert.throws(() => decoded(ANNOUNCE.request, body), InvalidMessage, body)
}

describe('the messages of the provider index', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(fc.oneof(claims, leaving), (message) => {
        assert.deepEqual(decoded(ANNOUNCE.request, encoded(ANNOUNCE.request, message)), message)
      }),
    )
    for (const result of [{ type: 'ok' }, { type: 'resync' }] as const) {
      assert.deepEqual(decoded(ANNOUNCE.answer, encoded(ANNOUNCE.answer, result)), result)
    }
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: MAX_LOOKUP_KEYS }), (keys) => {
        assert.deepEqual(decoded(LOOKUP.request, encoded(LOOKUP.request, keys)), keys)
      }),
    )
    fc.assert(
      fc.property(
        fc.uniqueArray(peer, { maxLength: 8, selector: ({ id }) => id }).chain((peers) => fc.array(fc.subarray(peers))),
        (result) => {
          assert.deepEqual(decoded(LOOKUP.answer, encoded(LOOKUP.answer, result)), result)
        },
      ),
    )
  })

  it('are refused when a field is missing, of another kind, or one too many', () => {
    refuses({ type: 'claim' })
    refuses({ peer: { id: 'a', address: '10.0.0.1:7951' } })
    refuses({ epoch: 'now' })
    refuses({ seq: 0 })
    refuses({ seq: 1.5 })
    refuses({ after: -1 })
    refuses({ ttl: 0 })
    refuses({ ttl: 3_600_001 })
    refuses({ scope: 'some' })
    refuses({ full: 1 })
    refuses({ extra: true })
    const refusesPeer = (peer: unknown) =>
      assert.throws(() => decoded(LOOKUP.answer, JSON.stringify({ peers: [peer], holders: [] })), InvalidMessage)
    for (const address of ['10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', 'fd00::7:7951', '10.0.0.1:7951/x', ':7951'])
      refusesPeer({ id: 'a', address })
    for (const id of ['a/../b', '']) refusesPeer({ id, address: '10.0.0.1:7951' })
  })

  it('are refused when packed keys are cut, padded wrongly or not base64', () => {
    const packed = Buffer.alloc(32, 7).toString('base64')
    for (const add of [packed.slice(4), packed.slice(0, -1), `${packed} `, `${packed}=`, '*'.repeat(44), 7]) {
      refuses({ add })
    }
  })

  it('have room for the most keys allowed, and for no more', () => {
    const most = keysNamed('k', MAX_ANNOUNCED_KEYS)
    const body = encoded(ANNOUNCE.request, { ...sample, add: most, remove: most })
    assert.equal(decoded(ANNOUNCE.request, body).type, 'claims')
    const tooMany = { ...sample, add: [...most, keyNamed('one more')] }
    assert.throws(() => encoded(ANNOUNCE.request, tooMany), InvalidMessage)
    const packed = packKeys(tooMany.add)
    assert.throws(
      () => decoded(ANNOUNCE.request, JSON.stringify({ ...sample, add: packed, remove: '' })),
      InvalidMessage,
    )
    for (const keys of [keysNamed('k', MAX_LOOKUP_KEYS + 1), []]) {
      assert.throws(() => encoded(LOOKUP.request, keys), InvalidMessage)
      assert.throws(() => decoded(LOOKUP.request, JSON.stringify({ keys: packKeys(keys) })), InvalidMessage)
    }
  })

  it('refuse an answer with too many providers, to another question, or with a peer that is not listed', async () => {
    const a = { id: 'a', address: '10.0.0.1:7951' }
    const list = JSON.stringify({ peers: [a], holders: [Array.from({ length: MAX_PROVIDERS_PER_KEY + 1 }, () => 0)] })
    const [key] = sample.add
    assert.ok(key)
    assert.deepEqual(await answered(LOOKUP, [key], encoded(LOOKUP.answer, [[a]])), [[a]])
    await assert.rejects(answered(LOOKUP, [key], list), InvalidMessage)
    await assert.rejects(answered(LOOKUP, [key, key], encoded(LOOKUP.answer, [[a]])), InvalidMessage)
    await assert.rejects(answered(LOOKUP, [key], JSON.stringify({ peers: [a], holders: [[1]] })), InvalidMessage)
  })

  it('fit the largest answer to a question into its limit', () => {
    const holders = (k: number) =>
      Array.from({ length: MAX_PROVIDERS_PER_KEY }, (_, n) => ({
        id: `${'x'.repeat(52)}${k}-${n}`,
        address: '[fd00:1:2:3:4:5:6:7]:65535',
      }))
    const body = encoded(
      LOOKUP.answer,
      Array.from({ length: MAX_LOOKUP_KEYS }, (_, k) => holders(k)),
    )
    assert.equal(decoded(LOOKUP.answer, body).length, MAX_LOOKUP_KEYS)
  })
})
