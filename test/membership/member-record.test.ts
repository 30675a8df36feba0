import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'

import { LocalMember } from '../../src/membership/local-member.ts'
import { type MemberRecord, readRecord, signRecord } from '../../src/membership/member-record.ts'
import { NodeIdentity } from '../../src/membership/node-identity.ts'

const identity = new NodeIdentity(await generateKeyPair('Ed25519'))
const record: MemberRecord = {
  id: identity.id,
  addresses: ['10.0.0.7:7951', '[fd00::7]:7951'],
  zone: 'a',
  version: '1.2.3',
  incarnation: 7,
}
const sign = (value: unknown, by = identity) => signRecord(value as MemberRecord, (bytes) => by.sign(bytes))

describe('a member record', () => {
  it('comes out as it went in', () => {
    assert.deepEqual(readRecord(sign(record)), record)
  })

  it('is refused with a signature of another node, or of other bytes', async () => {
    const other = new NodeIdentity(await generateKeyPair('Ed25519'))
    assert.equal(readRecord(sign(record, other)), undefined)
    const [payload = '', signature = ''] = sign(record).split('.')
    const changed = Buffer.from(JSON.stringify({ ...record, addresses: ['10.0.0.8:7951'] })).toString('base64url')
    assert.equal(readRecord(`${changed}.${signature}`), undefined)
    assert.equal(readRecord(payload), undefined)
    assert.equal(readRecord(`${payload}.`), undefined)
  })

  it('is refused without a valid address, id, version or incarnation', () => {
    for (const change of [
      { addresses: [] },
      { addresses: ['10.0.0.7'] },
      { addresses: Array.from({ length: 9 }, () => '10.0.0.7:7951') },
      { id: 'a/b' },
      { version: 'x'.repeat(65) },
      { incarnation: 0 },
      { incarnation: 1.5 },
      { zone: 7 },
    ])
      assert.equal(readRecord(sign({ ...record, ...change })), undefined, JSON.stringify(change))
    for (const text of ['', '.', 'x', 'AAAA.AAAA', `${'A'.repeat(10_000)}.AA`])
      assert.equal(readRecord(text), undefined)
  })

  it('takes over what a later version adds', () => {
    assert.equal(readRecord(sign({ ...record, later: true }))?.id, identity.id)
  })

  it('has a later incarnation after a restart, and a new one when it is renewed', async (context) => {
    const about = { addresses: ['10.0.0.7:7951'], version: '1' } as const
    const first = new LocalMember(identity, about)
    context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 10 })
    const second = new LocalMember(identity, about)
    assert.ok(second.record.incarnation > first.record.incarnation)
    const before = second.record.incarnation
    second.renew()
    assert.ok(second.record.incarnation > before)
    assert.deepEqual(readRecord(second.recordText), second.record)
  })
})
