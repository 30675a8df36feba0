import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Addresses } from '../../../src/upstream/registry/addresses.ts'
import { CredentialTroubles } from '../../../src/upstream/registry/credential-troubles.ts'
import { TokenRealms } from '../../../src/upstream/registry/token-realms.ts'

const addresses = new Addresses(
  new Map([
    ['r.example', [new URL('https://r.example'), new URL('https://mirror.test')]],
    ['plain.example', [new URL('http://plain.example')]],
  ]),
)
const [own, mirror] = addresses.of('r.example')
const [plain] = addresses.of('plain.example')

describe('a token server in another domain', () => {
  it('gets the credentials of the registry that the flag names, and of no other', () => {
    assert.ok(own !== undefined && mirror !== undefined && plain !== undefined)
    const realms = new TokenRealms([
      { registry: 'r.example', host: 'auth.test' },
      { registry: 'r.example', host: 'other.test:8443' },
      { registry: 'r.example', host: 'default.test:443' },
      { registry: 'plain.example', host: 'auth.test' },
    ])
    for (const [realm, address, trusts] of [
      ['https://auth.test/token', own, true],
      ['https://auth.test:443/token', own, true],
      ['https://other.test:8443/token', own, true],
      ['https://default.test/token', own, true],
      ['https://sub.r.example/token', own, true],
      // Credentials of a mirror in another domain are kept under its own name.
      ['https://auth.test/token', mirror, false],
      ['https://auth.test:8443/token', own, false],
      ['https://other.test/token', own, false],
      ['https://sub.auth.test/token', own, false],
      ['http://auth.test/token', own, false],
      ['http://auth.test/token', plain, true],
      ['http://auth.test:81/token', plain, false],
    ] as const) {
      assert.equal(realms.trusts(new URL(realm), address), trusts, `${realm} for ${address.url.host}`)
    }
    const [proxied] = new Addresses(new Map([['docker.io', [new URL('https://harbor.test')]]])).of('docker.io')
    assert.ok(proxied !== undefined)
    for (const registry of ['docker.io', 'harbor.test'])
      assert.ok(new TokenRealms([{ registry, host: 'auth.test' }]).trusts(new URL('https://auth.test/'), proxied))
    const ofMirror = new TokenRealms([{ registry: 'mirror.test', host: 'auth.test' }])
    assert.equal(ofMirror.trusts(new URL('https://auth.test/'), mirror), true)
    assert.equal(ofMirror.trusts(new URL('https://auth.test/'), own), false)
  })

  it('is named in the log once, with the flag', () => {
    const lines: unknown[] = []
    const log = { warn: (fields: object, message: string) => lines.push([fields, message]) }
    const troubles = new CredentialTroubles()
    const realms = new TokenRealms([], { log, troubles })
    assert.ok(own !== undefined)
    for (let count = 0; count < 3; count += 1) {
      const why = realms.withhold(new URL('https://auth.test/token?secret=x'), own)
      assert.match(why, /r\.example sends for a token to auth\.test, .*--token-realm r\.example=auth\.test allows it/)
    }
    assert.deepEqual(lines, [
      [
        { registry: 'r.example', address: 'r.example', tokenServer: 'auth.test' },
        'credentials are not sent to a token server in another domain than its registry: --token-realm r.example=auth.test allows it',
      ],
    ])
    const about = { registry: 'r.example', address: 'r.example', tokenServer: 'auth.test' }
    assert.deepEqual(troubles.list(), [{ type: 'withheld', ...about, flag: '--token-realm r.example=auth.test' }])
  })

  it('is kept once for its registry, for at most 16 registries, after the troubles of the node itself', () => {
    const troubles = new CredentialTroubles()
    const realms = new TokenRealms([], { troubles })
    troubles.note('file', { type: 'file', reason: 'credentials.json is no JSON' })
    for (let count = 0; count < 100; count += 1) {
      const [address] = new Addresses(new Map()).of(`r${count}.example`)
      for (const host of ['auth.test', 'other.test'])
        realms.withhold(new URL(`https://${host}/token`), address ?? assert.fail())
    }
    const [first, ...others] = troubles.list()
    assert.equal(first?.type, 'file')
    assert.equal(others.length, 16)
    for (const trouble of others) assert.ok(trouble.type === 'withheld' && trouble.tokenServer === 'other.test')
    assert.equal(new Set(others.map((trouble) => trouble.type === 'withheld' && trouble.registry)).size, 16)
  })
})
