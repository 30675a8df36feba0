import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { formatHostPort, parseHostPort } from '../../src/overlay/host-port.ts'

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
