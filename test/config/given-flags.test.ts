import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'

import { differencesOf, givenFlags, parseGivenFlags } from '../../src/config/given-flags.ts'

describe('given flags', () => {
  afterEach(() => {
    delete process.env['NABO_ZONE']
    delete process.env['NABO_STORE']
  })

  it('are those of the arguments, then those of the environment, as they were written', () => {
    process.env['NABO_ZONE'] = 'a'
    process.env['NABO_STORE'] = 'containerd'
    const args = ['serve', '--store', 'directory', '--insecure-without-secret', '--peer-addr=10.0.0.1', '--json']
    assert.deepEqual(givenFlags([...args, '--upstream', 'a=http://x', '--upstream', 'b=http://y']), {
      '--peer-addr': ['10.0.0.1'],
      '--store': ['directory'],
      '--insecure-without-secret': ['true'],
      '--upstream': ['a=http://x', 'b=http://y'],
      '--zone': ['a'],
    })
  })

  it('can be parsed again elsewhere, without the environment there, and without flags of later versions', () => {
    process.env['NABO_ZONE'] = 'b'
    const given = { '--store': ['directory'], '--peer-addr': ['10.0.0.1', '[::1]:9'], '--no-such': ['x'] }
    const flags = parseGivenFlags(given)
    assert.deepEqual([flags.store, flags.zone], ['directory', undefined])
    assert.deepEqual(flags.peerAddr, [
      { host: '10.0.0.1', port: 7951 },
      { host: '::1', port: 9 },
    ])
    assert.throws(() => parseGivenFlags({ '--store': ['floppy'] }))
  })

  it('differ by their values, however lists are written', () => {
    const there = { '--store': ['directory'], '--mirror-from': ['10.0.0.1 10.0.0.2'] }
    assert.deepEqual(
      differencesOf({ '--store': ['auto'], '--zone': ['a'], '--mirror-from': ['10.0.0.1', '10.0.0.2'] }, there),
      [
        { flag: '--store', here: ['auto'], there: ['directory'] },
        { flag: '--zone', here: ['a'], there: [] },
      ],
    )
  })
})
