import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { LocalMember } from '../../src/membership/local-member.ts'
import { readRecord } from '../../src/membership/member-record.ts'
import { NodeIdentity } from '../../src/membership/node-identity.ts'
import { loadIdentity } from '../../src/overlay/libp2p/identity.ts'

describe('the local member', () => {
  it('has a record that others accept, however many addresses the node advertises', async () => {
    const identity = new NodeIdentity(await loadIdentity(undefined))
    const others = Array.from({ length: 20 }, (_, n) => `[fd00::${n + 1}]:7951`)
    const { id, recordText } = new LocalMember(identity, { addresses: ['10.0.0.1:7951', ...others], version: 'test' })
    const record = readRecord(recordText)
    assert.equal(record?.id, id)
    assert.deepEqual(record.addresses, ['10.0.0.1:7951', ...others.slice(0, 7)])
  })
})
