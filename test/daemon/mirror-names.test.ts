import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { listenerHosts, mirrorNames } from '../../src/daemon/mirror-names.ts'

const INTERFACES = {
  eth0: [
    { address: '10.0.0.7', family: 'IPv4', netmask: '', mac: '', internal: false, cidr: null },
    { address: 'fd00::7', family: 'IPv6', netmask: '', mac: '', internal: false, cidr: null, scopeid: 0 },
  ],
} as const

describe('the names of a mirror', () => {
  const options = (bound: readonly string[]) => ({
    bound: () => bound,
    hostname: () => 'Node-7',
    interfaces: () => ({ eth0: [...INTERFACES.eth0] }),
  })
  const names = (...bound: readonly string[]) => mirrorNames(options(bound))
  const hosts = (...bound: readonly string[]) => listenerHosts(options(bound))

  it('are its address and localhost, on its port alone', () => {
    const isMirror = names('127.0.0.1:7950')
    for (const name of ['127.0.0.1:7950', 'localhost:7950']) assert.ok(isMirror(name), name)
    const others = [
      '127.0.0.1:5000',
      '127.0.0.1',
      'localhost',
      '127.0.0.2:7950',
      '10.0.0.7:7950',
      'ghcr.io',
      'docker.io',
    ]
    for (const name of [...others, 'node-7:7950', 'ghcr.io:7950', '[::1]:7950', '']) assert.ok(!isMirror(name), name)
  })

  it('are those of all its addresses', () => {
    const isMirror = names('127.0.0.1:7950', '[::1]:7950', '10.0.0.7:80')
    for (const name of ['[::1]:7950', '10.0.0.7', '10.0.0.7:80']) assert.ok(isMirror(name), name)
    assert.ok(!isMirror('10.0.0.7:7950'))
  })

  it('are all of the machine if it listens everywhere', () => {
    for (const bound of ['0.0.0.0:7950', '[::]:7950']) {
      const isMirror = names(bound)
      for (const name of ['127.0.0.1:7950', '127.0.0.2:7950', '[::1]:7950', 'localhost:7950', 'node-7:7950'])
        assert.ok(isMirror(name), name)
      for (const name of ['10.0.0.7:7950', '[fd00::7]:7950']) assert.ok(isMirror(name), name)
      for (const name of ['10.0.0.8:7950', '[fd00::8]:7950', 'registry.example:7950', '10.0.0.7:5000'])
        assert.ok(!isMirror(name), name)
    }
  })

  it('have hosts, whatever the port', () => {
    const isMirrorHost = hosts('127.0.0.1:7950')
    for (const host of ['127.0.0.1', 'localhost']) assert.ok(isMirrorHost(host), host)
    for (const host of ['127.0.0.2', '10.0.0.7', 'node-7', '::1', 'ghcr.io', '']) assert.ok(!isMirrorHost(host), host)
    const isAnyHost = hosts('0.0.0.0:7950')
    for (const host of ['127.0.0.1', '127.0.0.2', 'localhost', '::1', '[fd00::7]', '10.0.0.7', 'node-7'])
      assert.ok(isAnyHost(host), host)
    for (const host of ['10.0.0.8', 'ghcr.io']) assert.ok(!isAnyHost(host), host)
    assert.ok(hosts('[::1]:7950')('::1'))
    assert.ok(!hosts()('127.0.0.1'))
  })
})
