import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isLocalhostOr, isPrivateAddress } from '../../../src/upstream/registry/private-address.ts'

describe('an address', () => {
  it('is private where the public Internet does not lead to it', () => {
    for (const address of [
      ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '100.64.0.1'],
      ...['0.0.0.0', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'fd00:ec2::254', 'ff02::1'],
      ...['::ffff:127.0.0.1', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe'],
      ...['', 'example.com', '1.2.3'],
    ]) {
      assert.ok(isPrivateAddress(address), address)
    }
    for (const address of [
      '1.1.1.1',
      '172.32.0.1',
      '100.128.0.1',
      '2606:4700::1111',
      '::ffff:1.1.1.1',
      '64:ff9b::1.1.1.1',
    ]) {
      assert.ok(!isPrivateAddress(address), address)
    }
  })

  it('can be seen in a URL, however it is written', () => {
    const hosts = [
      '2130706433',
      '0x7f.1',
      '[::1]',
      '[::ffff:10.0.0.1]',
      'localhost',
      'LOCALHOST.',
      'a.localhost',
      '10.0.0.1.',
    ]
    const isPrivate = (url: string) => isLocalhostOr(isPrivateAddress, new URL(url).hostname)
    for (const host of hosts) assert.ok(isPrivate(`http://${host}:5000/`), host)
    for (const host of ['example.com', 'localhost.example.com', '8.8.8.8', '[2606:4700::1111]']) {
      assert.ok(!isPrivate(`http://${host}/`), host)
    }
  })
})
