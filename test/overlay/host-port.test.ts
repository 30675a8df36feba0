import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { addressKey, formatHostPort, parseHostPort } from '../../src/overlay/host-port.ts'

describe('host and port', () => {
  it('reads back what it wrote', () => {
    const hosts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain())
    fc.assert(
      fc.property(hosts, fc.integer({ min: 1, max: 65_535 }), (host, port) => {
        assert.deepEqual(parseHostPort(formatHostPort({ host, port }), 1), { host, port })
      }),
    )
  })

  it('has a default port', () => {
    for (const host of ['10.0.0.1', 'fd00::1', 'nabo', 'a.b-c.d']) {
      assert.deepEqual(parseHostPort(host, 7951), { host, port: 7951 })
    }
    assert.deepEqual(parseHostPort('[fd00::1]', 7951), { host: 'fd00::1', port: 7951 })
  })

  it('refuses what is neither', () => {
    const refused = [
      '',
      ':80',
      '10.0.0.1:',
      '10.0.0.1:0',
      '10.0.0.1:65536',
      '300.1.1.1',
      '[10.0.0.1]:80',
      'a b',
      '-a',
      '[::1',
      'a/b',
    ]
    for (const text of refused) assert.equal(parseHostPort(text, 1), undefined, text)
  })
})

describe('the address of a connection, as a key for limits', () => {
  it('is the same for an IPv4 address and the IPv6 address that it is mapped to', () => {
    assert.equal(addressKey('::ffff:192.0.2.1'), addressKey('192.0.2.1'))
  })

  it('differs between addresses, with and without a zone', () => {
    const addresses = ['192.0.2.1', '192.0.2.2', '2001:db8::1', 'fe80::1%eth0', 'fe80::1%eth1']
    assert.equal(new Set(addresses.map((address) => addressKey(address))).size, addresses.length)
  })

  it('is empty for a connection that has ended', () => {
    assert.equal(addressKey(undefined), '')
  })
})
