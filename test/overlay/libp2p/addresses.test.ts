import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { multiaddr } from '@multiformats/multiaddr'
import * as fc from 'fast-check'

import {
  type NodeAddress,
  parseNodeAddress,
  peerAddresses,
  routerAddresses,
  routerMultiaddr,
} from '../../../src/overlay/libp2p/addresses.ts'
import { announcement, transportAddresses } from '../../../src/overlay/libp2p/listen-addresses.ts'

const addrs = (...texts: string[]) => texts.map((text) => multiaddr(text))
/** As another node may send it: the name is not checked. */
const named = (name: string) => {
  const bytes = Buffer.from(name)
  return multiaddr(new Uint8Array([0x35, bytes.length, ...bytes, 6, 7952 >> 8, 7952 & 255]))
}
const readable = (address: NodeAddress | undefined) => address && parseNodeAddress(routerMultiaddr(address))
const from = (text: string) => multiaddr(text)

describe('addresses of a peer', () => {
  it('are those it announces for its peer listener', () => {
    const announced = addrs('/ip4/10.0.0.7/tcp/7952', '/ip4/10.0.0.7/tcp/7951/http', '/ip6/fd00::7/tcp/7951/http')
    assert.deepEqual(peerAddresses(announced, from('/ip4/10.0.0.7/tcp/40000')), ['10.0.0.7:7951', '[fd00::7]:7951'])
    assert.deepEqual(routerAddresses(announced, from('/ip4/10.0.0.7/tcp/40000')).map(String), [
      '/ip4/10.0.0.7/tcp/7952',
    ])
  })

  it('begin with the family of the connection', () => {
    const announced = addrs('/ip4/10.0.0.7/tcp/7951/http', '/ip6/fd00::7/tcp/7951/http')
    assert.equal(peerAddresses(announced, from('/ip6/fd00::99/tcp/1'))[0], '[fd00::7]:7951')
    assert.equal(peerAddresses(announced, from('/ip4/10.0.0.99/tcp/1'))[0], '10.0.0.7:7951')
    assert.equal(peerAddresses(announced, from('/ip6/::ffff:10.0.0.99/tcp/1'))[0], '10.0.0.7:7951')
  })

  it('are none without a peer listener', () => {
    assert.deepEqual(peerAddresses(addrs('/ip4/10.0.0.7/tcp/7952'), from('/ip4/10.0.0.7/tcp/1')), [])
  })

  it('are never loopback or unspecified for a peer on another machine', () => {
    const announced = addrs('/ip4/127.0.0.1/tcp/7951/http', '/ip6/::1/tcp/7951/http', '/ip4/0.0.0.0/tcp/7951/http')
    assert.deepEqual(peerAddresses(announced, from('/ip4/10.0.0.7/tcp/1')), ['10.0.0.7:7951'])
    assert.deepEqual(peerAddresses(addrs('/ip4/127.0.0.1/tcp/7951/http'), from('/ip4/127.0.0.1/tcp/1')), [
      '127.0.0.1:7951',
    ])
    assert.deepEqual(peerAddresses(addrs('/ip6/::/tcp/7951/http'), from('/ip4/127.0.0.1/tcp/1')), ['127.0.0.1:7951'])
  })

  it('are read strictly', () => {
    for (const text of ['/ip4/10.0.0.1/udp/1', '/ip4/10.0.0.1/tcp/0', '/ip4/10.0.0.1/tcp/1/ws', '/unix/tmp']) {
      assert.equal(parseNodeAddress(multiaddr(text)), undefined, text)
    }
  })

  it('have a host that is an IP address or a DNS name, whatever bytes a node sends, and a text of at most 128 characters', () => {
    const long = 'a'.repeat(60)
    const names = ['a/b', 'a b', '\0', '-', 'a..b', '1.2.3', 'fe80::1%a/b', '\ufffd', `${long}.${long}`]
    for (const name of names) assert.equal(parseNodeAddress(named(name)), undefined, name)
    for (const name of ['node-1.example', 'localhost', '10.0.0.7', 'fd00::7'])
      assert.deepEqual(parseNodeAddress(named(name)), { host: name, port: 7952, listener: 'router' })
    const announced = [...names.map(named), ...addrs('/ip4/10.0.0.7/tcp/7952')]
    assert.deepEqual(routerAddresses(announced, from('/ip4/10.0.0.7/tcp/1')).map(String), ['/ip4/10.0.0.7/tcp/7952'])
    const text = fc.string({ minLength: 1, maxLength: 40 })
    fc.assert(fc.property(text, (name) => void readable(parseNodeAddress(named(name)))))
  })
})

describe('addresses of this node', () => {
  it('are listened on for both families where it is told ::', () => {
    const all = { host: '::', port: 7952 }
    assert.deepEqual(transportAddresses(all, [all]).map(String), ['/ip4/0.0.0.0/tcp/7952', '/ip6/::/tcp/7952'])
    const one = { host: '10.0.0.1', port: 7952 }
    assert.deepEqual(
      [all, one].map((address) => transportAddresses(address, [all, one]).map(String)),
      [['/ip6/::/tcp/7952'], ['/ip4/10.0.0.1/tcp/7952']],
    )
  })

  it('are announced as advertised, with the ports that are bound for their family', () => {
    const bound = addrs('/ip4/127.0.0.1/tcp/4001', '/ip4/10.0.0.1/tcp/4001', '/ip6/::1/tcp/6001')
    const told = announcement({ listen: [], advertise: ['10.0.0.1', 'fd00::1'], peerPort: 7951 }, bound)
    assert.deepEqual(told.map(String), [
      '/ip4/10.0.0.1/tcp/4001',
      '/ip4/10.0.0.1/tcp/7951/http',
      '/ip6/fd00::1/tcp/6001',
      '/ip6/fd00::1/tcp/7951/http',
    ])
  })

  it('are announced with the port of their flag while none of them is bound', () => {
    const listen = [
      { host: '10.0.0.1', port: 4001 },
      { host: '10.0.0.1', port: 0 },
    ]
    const told = announcement({ listen, advertise: ['10.0.0.1'], peerPort: 7951 }, [])
    assert.deepEqual(told.map(String), ['/ip4/10.0.0.1/tcp/4001', '/ip4/10.0.0.1/tcp/7951/http'])
  })
})
