import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { digestOf } from '../../src/oci/digest.ts'
import { InvalidMessage } from '../../src/contracts/message.ts'
import { MAX_LEFT_SOURCES, MAX_SOURCES } from '../../src/contracts/node/swarm-messages.ts'
import { NODE_PROTOCOL } from '../../src/contracts/node-protocol.ts'
import {
  type JoinAnswer,
  type JoinMessage,
  MAX_REPORT_ENTRIES,
  type MemberLoad,
  type ReportEntry,
  type ReportMessage,
} from '../../src/swarm/messages.ts'
import type { LeftSource, SharedFailure, SharedTag, SwarmOutcome } from '../../src/swarm/swarm.ts'
import { type ItemName, keyOfItem, nameItem } from '../../src/swarm/swarm-item.ts'
import { answered, decoded, encoded } from '../support/wire.ts'

const JOIN = NODE_PROTOCOL.join
const REPORT = NODE_PROTOCOL.report

const PLAIN = { noNullPrototype: true } as const
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/)
const address = fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => `${host}:${port}`)
const digest = fc
  .tuple(fc.string(), fc.constantFrom('sha256', 'sha512'))
  .map(([text, algorithm]) => digestOf(Buffer.from(text), algorithm as 'sha256'))
const member: fc.Arbitrary<MemberLoad> = fc.record(
  { zone: optional(fc.string({ maxLength: 128 })), sending: fc.nat(1000), capacity: fc.nat(1000) },
  PLAIN,
)
const repository = fc
  .record({
    registry: fc.constantFrom('docker.io', 'localhost:5000', '[fd00::1]:5000', 'ghcr.io'),
    name: fc.stringMatching(/^[a-z0-9]{1,9}(\/[a-z0-9]{1,9}){0,3}$/),
  })
  // As Docker Hub names them: one component alone stands for `library/…`.
  .map(({ registry, name }) => ({
    registry,
    name: registry === 'docker.io' && !name.includes('/') ? `library/${name}` : name,
  }))
const content = fc.oneof(
  fc.record({ kind: fc.constantFrom('blob', 'manifest'), digest }),
  fc.record({ kind: fc.constant('tag'), tag: fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/) }),
)
const name: fc.Arbitrary<ItemName> = fc
  .record({ repository, content })
  .map((item) => nameItem(item as Parameters<typeof nameItem>[0]))
const lease = fc.record({ epoch: fc.nat(), rank: fc.nat(9) }, PLAIN)
const left: fc.Arbitrary<LeftSource> = fc.record(
  { id, reason: fc.constantFrom('broken', 'stalled', 'busy', 'refused', 'absent', 'wrong') },
  PLAIN,
)
const rate = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(Math.abs)
const failure: fc.Arbitrary<SharedFailure> = fc.record(
  { absent: fc.boolean(), message: fc.string({ maxLength: 300 }), source: fc.constantFrom('10.0.0.1', 'ann') },
  { ...PLAIN, requiredKeys: ['absent', 'message'] },
)
const tagValue: fc.Arbitrary<SharedTag> = fc.record(
  {
    descriptor: fc.record({ mediaType: fc.constant('application/json'), digest, size: fc.nat() }, PLAIN),
    date: fc.nat(),
    anonymous: fc.boolean(),
  },
  PLAIN,
)
const outcome: fc.Arbitrary<SwarmOutcome> = fc.oneof(
  fc.record({ type: fc.constantFrom('complete', 'cancelled') }, PLAIN),
  fc.record({ type: fc.constant('resolved'), value: tagValue }, PLAIN),
  fc.record({ type: fc.constant('failed'), failure }, PLAIN),
  fc.record({ type: fc.constant('suspect'), senders: fc.array(id, { maxLength: 32 }) }, PLAIN),
)
const state = { position: fc.maxSafeNat(), size: optional(fc.maxSafeNat()), serves: fc.boolean() }
const signed = fc.record(
  {
    session: fc.stringMatching(/^[0-9a-f]{16}$/),
    sequence: fc.integer({ min: 1 }),
    signature: fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  },
  PLAIN,
)
const join: fc.Arbitrary<JoinMessage> = fc
  .tuple(
    name,
    fc.record(
      {
        type: fc.constant('join'),
        member,
        ...state,
        left: fc.array(left, { maxLength: 8 }),
        lease: optional(lease),
        upstreamRate: optional(rate),
        onBehalfOf: optional(fc.record({ id, address }, PLAIN)),
        signed: optional(signed),
      },
      PLAIN,
    ),
  )
  .map(([names, rest]) => ({ ...rest, ...names }))
const entry: fc.Arbitrary<ReportEntry> = fc
  .tuple(
    name,
    fc.record(
      {
        ...state,
        lease: optional(lease),
        parent: optional(id),
        upstreamRate: optional(rate),
        outcome: optional(outcome),
      },
      PLAIN,
    ),
  )
  .map(([names, rest]) => ({ ...rest, ...names }))
const report: fc.Arbitrary<ReportMessage> = fc.record(
  { type: fc.constant('report'), member, entries: fc.array(entry, { minLength: 1, maxLength: 8 }) },
  PLAIN,
)
const source = fc.record({ peer: fc.record({ id, address }, PLAIN), complete: fc.boolean(), level: fc.nat(99) }, PLAIN)
const answer: fc.Arbitrary<JoinAnswer> = fc.oneof(
  fc.record({ type: fc.constant('follow'), sources: fc.array(source, { minLength: 1, maxLength: 8 }) }, PLAIN),
  fc.record({ type: fc.constant('upstream'), lease }, PLAIN),
  fc.record({ type: fc.constant('known'), value: tagValue }, PLAIN),
  fc.record({ type: fc.constant('failed'), failure }, PLAIN),
  fc.record({ type: fc.constant('wait'), ms: fc.nat(10_000) }, PLAIN),
)

const [longId, longAddress] = ['x'.repeat(128), '[fd00:1111:2222:3333:4444:5555:6666:7777]:65535']
const longRepository = { registry: `${'r'.repeat(249)}.local`, name: 'n'.repeat(255) }
const longName = nameItem({
  repository: longRepository,
  content: { kind: 'blob', digest: digestOf(Buffer.from('x'), 'sha512') },
})
const longMember: MemberLoad = {
  zone: '\u0001'.repeat(128),
  sending: 1e9,
  capacity: Number.MAX_SAFE_INTEGER,
}
const longState = {
  ...longName,
  position: Number.MAX_SAFE_INTEGER,
  size: Number.MAX_SAFE_INTEGER,
  serves: true,
  lease: { epoch: Number.MAX_SAFE_INTEGER, rank: 9 },
  upstreamRate: 1.2345678901234567e300,
}
const longLeft: LeftSource = { id: longId, reason: 'refused' }
const sample: JoinMessage = {
  ...longState,
  type: 'join',
  member: longMember,
  left: [longLeft],
  onBehalfOf: { id: longId, address: longAddress },
  signed: { session: '0'.repeat(16), sequence: Number.MAX_SAFE_INTEGER, signature: 'A'.repeat(86) },
}

function refuses(change: Record<string, unknown>): void {
  const body = JSON.stringify({ ...JSON.parse(encoded(JOIN.request, sample)), ...change })
  assert.throws(() => decoded(JOIN.request, body), InvalidMessage, body)
}

describe('the messages of the swarm', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(join, (message) => assert.deepEqual(decoded(JOIN.request, encoded(JOIN.request, message)), message)),
    )
    fc.assert(
      fc.property(answer, (message) => assert.deepEqual(decoded(JOIN.answer, encoded(JOIN.answer, message)), message)),
    )
    fc.assert(
      fc.property(report, (message) =>
        assert.deepEqual(decoded(REPORT.request, encoded(REPORT.request, message)), message),
      ),
    )
    fc.assert(
      fc.property(fc.array(fc.constantFrom('ok', 'ask'), { maxLength: 256 }), (message) => {
        assert.deepEqual(decoded(REPORT.answer, encoded(REPORT.answer, message)), message)
      }),
    )
  })

  it('are refused when a field is missing, of another kind, or one too many', () => {
    assert.equal(decoded(JOIN.request, encoded(JOIN.request, sample)).item, sample.item)
    for (const change of [
      { type: 'report' },
      { member: undefined },
      { member: { id: 'a', address: longAddress, sending: 0, capacity: 1 } },
      { member: { sending: -1, capacity: 1 } },
      { onBehalfOf: { id: 'a/b', address: longAddress } },
      { signed: { session: '0'.repeat(16), sequence: 0, signature: 'A'.repeat(86) } },
      { signed: { session: '0'.repeat(16), sequence: 1, signature: 'A' } },
      { signed: { session: 1, sequence: 1, signature: 'A'.repeat(86) } },
      { position: -1 },
      { position: 0.5 },
      { position: 2 ** 53 },
      { size: null },
      { serves: 1 },
      { left: [{ id: 'a', reason: 'bored' }] },
      { lease: { epoch: 1, rank: 10 } },
      { lease: { epoch: -1, rank: 0 } },
      { upstreamRate: -1 },
      { upstreamRate: null },
      { forwarded: true },
      { extra: true },
      { kind: 'index' },
      { kind: 'tag' },
      { item: 'docker.io/library/app' },
      { item: 'docker.io/library/app@sha256:short' },
      { item: `docker.io/../etc@sha256:${'0'.repeat(64)}` },
      { item: `docker.io/library/App@sha256:${'0'.repeat(64)}` },
    ]) {
      refuses(change)
    }
  })

  it('name an item so that its key follows', () => {
    fc.assert(fc.property(name, ({ item, kind, key }) => assert.equal(keyOfItem(item, kind), key)))
    fc.assert(fc.property(fc.string(), fc.constantFrom('blob', 'tag'), (text, kind) => void keyOfItem(text, kind)))
  })

  it('cannot bring a type that is no media type into a header', () => {
    const value = { date: 1, anonymous: true, descriptor: { mediaType: 'a/b\r\nx: y', digest: '', size: 1 } }
    assert.throws(() => decoded(JOIN.answer, JSON.stringify({ type: 'known', value })), InvalidMessage)
  })

  it('refuse an answer to another report', async () => {
    const one: ReportMessage = {
      type: 'report',
      member: longMember,
      entries: [{ ...longState, parent: longId, outcome: undefined }],
    }
    assert.deepEqual(await answered(REPORT, one, '["ok"]'), ['ok'])
    await assert.rejects(answered(REPORT, one, '["ok","ok"]'), InvalidMessage)
  })

  it('fit into their limits however much is put into them', () => {
    const leftMany = Array.from({ length: 1_000 }, () => longLeft)
    const question = encoded(JOIN.request, { ...sample, left: leftMany })
    assert.ok(Buffer.byteLength(question) <= JOIN.request.maxBytes)
    assert.equal(decoded(JOIN.request, question).left.length, MAX_LEFT_SOURCES)

    const outcomes: SwarmOutcome[] = [
      { type: 'failed', failure: { absent: true, message: '\u0001'.repeat(10_000), source: '"'.repeat(255) } },
      { type: 'suspect', senders: Array.from({ length: 100 }, () => longId) },
    ]
    for (const one of outcomes) {
      const long: ReportEntry = { ...longState, parent: longId, outcome: one }
      const entries = Array.from({ length: MAX_REPORT_ENTRIES }, () => long)
      const body = encoded(REPORT.request, { type: 'report', member: longMember, entries })
      assert.ok(Buffer.byteLength(body) <= REPORT.request.maxBytes, `${body.length}`)
      assert.equal(decoded(REPORT.request, body).entries.length, MAX_REPORT_ENTRIES)
    }

    const far = { peer: { id: longId, address: longAddress }, complete: true, level: 99_999 }
    const follow = encoded(JOIN.answer, { type: 'follow', sources: Array.from({ length: 99 }, () => far) })
    assert.ok(follow.length <= JOIN.answer.maxBytes)
    const told = decoded(JOIN.answer, follow)
    assert.equal(told.type === 'follow' && told.sources.length, MAX_SOURCES)
    const asks = encoded(
      REPORT.answer,
      Array.from({ length: MAX_REPORT_ENTRIES }, () => 'ask' as const),
    )
    assert.ok(asks.length <= REPORT.answer.maxBytes)
  })
})
