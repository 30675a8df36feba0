import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { readPullCredential } from '../../src/http/pull-credential.ts'
import { basicHeader } from '../../src/upstream/registry/credential.ts'

/** The form of a Google service account's key. */
const KEY = JSON.stringify({ type: 'service_account', private_key: '-----BEGIN PRIVATE KEY-----\nMII\n' }, null, 2)
const encode = (text: string) => Buffer.from(text).toString('base64')

describe('the credentials that a client of the mirror sends', () => {
  it('are a user and a password, whatever both are made of', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ unit: 'grapheme', maxLength: 200 }),
    )
    fc.assert(
      fc.property(text, text, fc.constantFrom('Basic ', 'basic ', 'BASIC  '), (user, password, scheme) => {
        fc.pre(`${user}${password}` !== '')
        const username = user.replaceAll(':', ';')
        const read = readPullCredential(`${scheme}${encode(`${username}:${password}`)}`)
        assert.deepEqual(read, { username, password })
      }),
    )
    for (const [username, password] of [
      ['_json_key', KEY],
      ['', 'a token alone'],
      ['a token alone', ''],
      ['ann', ':a:b:'],
      ['ann', 'Passwörter 🔑 \uFFFD'],
      ['ann', '\u0000'],
      ['AWS', 'x'.repeat(16_000)],
    ] as const)
      assert.deepEqual(readPullCredential(`Basic ${encode(`${username}:${password}`)}`), { username, password })
  })

  it('are passed on byte by byte, in UTF-8 or not', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const header = `Basic ${Buffer.from([0x61, 0x3a, ...bytes]).toString('base64')}`
        const read = readPullCredential(header)
        assert.equal(read && basicHeader(read), header)
      }),
    )
  })

  it('are none if they are malformed, empty, too long, or made out to somebody else', () => {
    for (const header of [
      undefined,
      '',
      'Basic',
      'Basic ',
      'Basic !',
      `Basic ${encode('no colon')}`,
      `Basic ${encode(':')}`,
      `Basic ${encode('a:b')} ${encode('c:d')}`,
      `Basic ${encode(`user:${'x'.repeat(20_000)}`)}`,
      `Bearer ${encode('user:password')}`,
      `Nabo t=1,mac=${'0'.repeat(64)}`,
    ]) {
      assert.equal(readPullCredential(header), undefined, String(header).slice(0, 60))
    }
  })
})
