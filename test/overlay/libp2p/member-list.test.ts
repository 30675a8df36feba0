import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import * as fc from 'fast-check'

import { kadIdOf } from '../../../src/overlay/distance.ts'
import { encodeMemberList, parseMemberList } from '../../../src/overlay/libp2p/member-list.ts'
import type { Member } from '../../../src/overlay/libp2p/member-table.ts'

async function member(): Promise<Member> {
  const peerId = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  return {
    peer: { id: peerId.toString(), address: '10.0.0.1:7951' },
    peerId,
    kadId: kadIdOf(peerId.toMultihash().bytes),
    routers: [multiaddr('/ip4/10.0.0.1/tcp/7952')],
  }
}

describe('member list', () => {
  it('says who is there and where', async () => {
    const members = [await member(), await member()]
    const read = parseMemberList(encodeMemberList(members))
    assert.deepEqual(
      read.map(({ peerId, routers }) => [peerId.toString(), routers.map(String)]),
      members.map(({ peer }) => [peer.id, ['/ip4/10.0.0.1/tcp/7952']]),
    )
  })

  it('leaves out what makes no sense', () => {
    const list = [
      { id: 'nobody', routers: [] },
      { id: '12D3KooWFs3NhiHjQaZYoYUmqt7emGT5PH4LjVHd4bmJtcZsuX2m', routers: ['/nonsense'] },
    ]
    assert.deepEqual(parseMemberList(Buffer.from(JSON.stringify(list))), [])
  })

  it('refuses anything but a list', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!Array.isArray(value) || value.length > 0)
        assert.throws(() => parseMemberList(Buffer.from(JSON.stringify(value))))
      }),
    )
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        try {
          assert.deepEqual(parseMemberList(bytes), [])
        } catch (error) {
          assert.ok(error instanceof Error)
        }
      }),
    )
  })
})
