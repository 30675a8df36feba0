import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import * as fc from 'fast-check'

import { kadIdOf } from '../../../src/overlay/distance.ts'
import { encodeMemberList, parseMemberList } from '../../../src/overlay/libp2p/member-list.ts'
import type { Member } from '../../../src/overlay/libp2p/member-table.ts'

async function member(...routers: readonly string[]): Promise<Member> {
  const peerId = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  return {
    peer: { id: peerId.toString(), address: '10.0.0.1:7951' },
    peerId,
    kadId: kadIdOf(peerId.toMultihash().bytes),
    routers: (routers.length > 0 ? routers : ['/ip4/10.0.0.1/tcp/7952']).map((router) => multiaddr(router)),
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

  it('is read although some of its rows are bad', () => {
    const id = '12D3KooWFs3NhiHjQaZYoYUmqt7emGT5PH4LjVHd4bmJtcZsuX2m'
    const routers = ['/ip4/10.0.0.1/tcp/7952']
    const long = `/dns/${'y'.repeat(300)}/tcp/7952`
    const bad = [7, null, {}, { id, routers: 'x' }, { id: 'x'.repeat(200), routers }, { id, routers: [long, 7] }]
    const odd = [long, '/dns/a b/tcp/1', '/ip4/10.0.0.1/tcp/1/http', '/ip4/10.0.0.1/udp/1']
    const many = Array.from({ length: 20 }, (_, n) => `/ip4/10.0.0.1/tcp/${n + 1}`)
    const rows = [...bad, { id, routers }, { id, routers: [...odd, ...routers] }, { id, routers: many }]
    assert.deepEqual(
      parseMemberList(Buffer.from(JSON.stringify(rows))).map((node) => node.routers.map(String)),
      [routers, routers, many.slice(0, 8)],
    )
  })

  it('has no router that is too long, and is never longer than is read', async () => {
    const long = `/dns/${'y'.repeat(300)}/tcp/7952`
    const members = [await member(long), await member('/ip4/10.0.0.2/tcp/7952', long), await member()]
    assert.doesNotMatch(Buffer.from(encodeMemberList(members)).toString(), /yyy/)
    assert.equal(parseMemberList(encodeMemberList(members)).length, 2)
    const name = 'y'.repeat(50)
    const wide = await member(...Array.from({ length: 8 }, (_, n) => `/dns/${name}.${name}.${n}/tcp/7952`))
    const bytes = encodeMemberList(Array<Member>(2000).fill(wide))
    assert.ok(bytes.length <= 1024 * 1024, `${bytes.length} bytes`)
    assert.ok(parseMemberList(bytes).length > 500)
  })

  it('refuses anything but a list', () => {
    const read = (value: unknown) => parseMemberList(Buffer.from(JSON.stringify(value)))
    assert.throws(() => read(Array(4097).fill(0)))
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        if (Array.isArray(value)) assert.deepEqual(read(value), [])
        else assert.throws(() => read(value))
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
