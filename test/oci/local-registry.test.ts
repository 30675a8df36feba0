import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isLocalAddress, isLocalRegistry } from '../../src/oci/local-registry.ts'

const PORTS = ['', ':80', ':443', ':5000']

describe('a registry', () => {
  it('is local if its name means this machine or its link on every node', () => {
    for (const host of [
      ...['localhost', 'LOCALHOST', 'localhost.', 'registry.localhost', 'a.b.localhost.'],
      ...['127.0.0.1', '127.255.255.254', '0.0.0.0', '169.254.0.1', '169.254.169.254', '127.0.0.1.'],
      ...['[::1]', '[::]', '[0:0:0:0:0:0:0:1]', '[fe80::1]', '[febf::1]'],
      ...['[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::ffff:0.0.0.0]', '[::ffff:169.254.169.254]'],
      ...['[64:ff9b::127.0.0.1]', '[64:ff9b::a9fe:a9fe]'],
    ]) {
      for (const port of PORTS) assert.ok(isLocalRegistry(host + port), host + port)
    }
  })

  it('is local in every spelling that a URL parser turns into such an address', () => {
    for (const host of [
      ...['127.1', '127.0.1', '2130706433', '0x7f.1', '0x7f000001', '0177.0.0.1', '017700000001', '0', '0x0'],
      ...[
        '127.1.',
        '0x7f.1.',
        '2130706433.',
        '169.254.43518',
        '0xa9fea9fe',
        '2852039166',
        '%6cocalhost',
        '１２７.0.0.1',
      ],
    ]) {
      for (const port of PORTS) assert.ok(isLocalRegistry(host + port), host + port)
    }
  })

  it('is local as a bare IPv6 address too', () => {
    for (const address of ['::1', '::', 'fe80::1', '::ffff:127.0.0.1']) assert.ok(isLocalRegistry(address), address)
    assert.ok(!isLocalRegistry('2606:4700::1111'))
  })

  it('is not local for being private, or for a name that only looks like it', () => {
    for (const host of [
      ...['docker.io', 'ghcr.io', 'registry', 'localhost.example.com', 'notlocalhost', 'local', 'localhost-1'],
      ...['127.0.0.1.example.com', '127-0-0-1.example', '127.0.0.1.nip.io', '0.example.com'],
      ...[
        '10.0.0.1',
        '172.16.0.1',
        '192.168.1.1',
        '100.64.0.1',
        '128.0.0.1',
        '126.255.255.255',
        '169.253.0.1',
        '8.8.8.8',
      ],
      ...['[fd00::1]', '[fec0::1]', '[::2]', '[2606:4700::1111]', '[::ffff:10.0.0.1]', '[64:ff9b::10.0.0.1]'],
    ]) {
      for (const port of PORTS) assert.ok(!isLocalRegistry(host + port), host + port)
    }
  })

  it('is not local if it is no host and port', () => {
    for (const text of ['', ' ', ':5000', '127.0.0.1:99999', '[::1', '127.0.0.256', '[fe80::1%25eth0]']) {
      assert.equal(isLocalRegistry(text), false, text)
    }
  })
})

describe('an address', () => {
  it('is local if it is loopback, unspecified or link-local', () => {
    for (const address of ['127.0.0.1', '0.0.0.0', '169.254.1.1', '::', '::1', 'fe80::1', 'fe80::1%eth0']) {
      assert.ok(isLocalAddress(address), address)
    }
    for (const address of ['10.0.0.1', '0.0.0.1', 'fd00::1', '1.1.1.1', 'localhost', '127.1', '']) {
      assert.ok(!isLocalAddress(address), address)
    }
  })
})
