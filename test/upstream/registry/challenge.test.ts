import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { isUpstreamError } from '../../support/is-upstream-error.ts'
import { parseChallenge, realmBelongsTo, realmOf } from '../../../src/upstream/registry/challenge.ts'

const bearer = (header: string) => {
  const challenge = parseChallenge(header)
  if (challenge?.scheme !== 'bearer') return challenge
  return { realm: challenge.realm?.href, service: challenge.service, scope: challenge.scope }
}

describe('a WWW-Authenticate header', () => {
  it('is read as registries send it', () => {
    for (const [header, realm, service, scope] of [
      [
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
        'https://auth.docker.io/token',
        'registry.docker.io',
        'repository:library/nginx:pull',
      ],
      [
        'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:org/app:pull"',
        'https://ghcr.io/token',
        'ghcr.io',
        'repository:org/app:pull',
      ],
      [
        'Bearer realm="https://harbor.example/service/token",service="harbor-registry"',
        'https://harbor.example/service/token',
        'harbor-registry',
        undefined,
      ],
      [
        'Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws"',
        'https://public.ecr.aws/token/',
        'public.ecr.aws',
        'aws',
      ],
      ['bearer realm = https://r.example/t , service = s', 'https://r.example/t', 's', undefined],
      [
        'Bearer realm="https://r.example/t",scope="repository:a:pull,push repository:b:pull",error="invalid_token"',
        'https://r.example/t',
        undefined,
        'repository:a:pull,push repository:b:pull',
      ],
      ['Bearer service="a \\"b\\" \\\\c",realm="https://r.example/"', 'https://r.example/', 'a "b" \\c', undefined],
    ] as const) {
      assert.deepEqual(bearer(header), { realm, service, scope }, header)
    }
  })

  it('may ask for a password', () => {
    assert.deepEqual(
      parseChallenge('Basic realm="https://123.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"'),
      { scheme: 'basic' },
    )
    assert.deepEqual(parseChallenge('BASIC realm=x'), { scheme: 'basic' })
  })

  it('may hold several challenges, of which a token is preferred', () => {
    const token = 'Bearer realm="https://r.example/t",service="s"'
    for (const header of [
      `Basic realm="r", ${token}`,
      `${token}, Basic realm="r"`,
      `Negotiate, ${token}`,
      `Negotiate YWJj==, ${token}`,
      `Digest realm="Basic, Bearer", nonce="x", ${token}`,
      `Bearer realm="ftp://r.example/", ${token}`,
    ]) {
      assert.equal(
        bearer(header) && JSON.stringify(bearer(header)),
        '{"realm":"https://r.example/t","service":"s"}',
        header,
      )
    }
  })

  it('says nothing if there is nothing that can be answered', () => {
    for (const header of ['', 'Negotiate', 'realm="https://r.example"', ',,,', '"', '=', 'Digest realm="Basic"']) {
      assert.equal(parseChallenge(header), undefined, header)
    }
  })

  it('may want a token and name no place to get one', () => {
    const registry = new URL('https://r.example')
    for (const header of ['Bearer', 'Bearer realm=""', 'Bearer realm="/token"', 'Bearer realm="javascript:1"']) {
      const challenge = parseChallenge(header)
      assert.ok(challenge?.scheme === 'bearer', header)
      assert.throws(() => realmOf(challenge, registry), isUpstreamError('failed', /names no URL where to get one/))
      assert.deepEqual(parseChallenge(`${header}, Basic realm="r"`), { scheme: 'basic' })
    }
    const plain = parseChallenge('Bearer realm="http://t.example/"')
    assert.ok(plain?.scheme === 'bearer')
    assert.throws(() => realmOf(plain, registry), isUpstreamError('failed', /to t\.example without HTTPS/))
    assert.equal(realmOf(plain, new URL('http://r.example')).host, 't.example')
  })

  it('never throws nor loops, whatever it says', () => {
    const pieces = fc.constantFrom(
      'Bearer',
      'Basic',
      ' ',
      ',',
      '=',
      '"',
      '\\',
      'realm',
      '"https://a.b/"',
      'a',
      '\t',
      'é',
      '\u0000',
    )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(text, (header) => {
        const challenge = parseChallenge(header)
        assert.ok(challenge?.scheme !== 'bearer' || /^(?:https?:|none)$/.test(challenge.realm?.protocol ?? 'none'))
      }),
      { numRuns: 2000 },
    )
    for (const part of ['a="', '"\\', 'a ', ' = ', 'x,', '\\"']) parseChallenge(part.repeat(100_000))
  })
})

describe('a token realm', () => {
  const belongs = (realm: string, registry: string) => realmBelongsTo(new URL(realm), new URL(registry))

  it('belongs to a registry of the same domain', () => {
    for (const [realm, registry] of [
      ['https://auth.docker.io/token', 'https://registry-1.docker.io'],
      ['https://ghcr.io/token', 'https://ghcr.io'],
      ['https://gitlab.com/jwt/auth', 'https://registry.gitlab.com'],
      ['https://docker-auth.elastic.co/auth', 'https://docker.elastic.co'],
      ['https://auth.example.co.uk/', 'https://registry.example.co.uk'],
      ['http://127.0.0.1:5001/token', 'http://127.0.0.1:5000'],
      ['https://AUTH.docker.io/', 'https://registry-1.docker.io'],
      ['https://[::1]:5001/', 'https://[::1]:5000'],
      ['https://r.example/', 'http://r.example'],
      ['http://localhost:1/', 'http://localhost:2'],
    ] as const) {
      assert.ok(belongs(realm, registry), `${realm} for ${registry}`)
    }
  })

  it('that is elsewhere, or unprotected, gets no credentials', () => {
    for (const [realm, registry] of [
      ['https://evil.io/token', 'https://registry-1.docker.io'],
      ['https://docker.io.evil.com/', 'https://docker.io'],
      ['https://evildocker.io/', 'https://docker.io'],
      ['https://evil.co.uk/', 'https://registry.example.co.uk'],
      ['http://auth.docker.io/token', 'https://registry-1.docker.io'],
      ['https://10.0.0.2/', 'https://10.0.0.1'],
      ['https://1.0.0.1/', 'https://0.0.0.1'],
      ['https://[::2]/', 'https://[::1]'],
      ['https://evil.io./', 'https://registry.example.io.'],
      ['https://io/', 'https://docker.io'],
    ] as const) {
      assert.ok(!belongs(realm, registry), `${realm} for ${registry}`)
    }
  })
})
