import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseDockerConfig } from '../../../src/upstream/registry/docker-config.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const parse = (content: unknown) => parseDockerConfig(typeof content === 'string' ? content : JSON.stringify(content))

function credentialOf(content: unknown, registry: string, name = 'library/app') {
  const place = parse(content).placeOf({ registry, name })
  return place?.type === 'file' ? place.credential : undefined
}

function userFor(auths: object, registry: string, name: string) {
  const credential = credentialOf({ auths }, registry, name)
  return credential !== undefined && 'password' in credential ? credential.username : undefined
}

function helperFor(content: unknown, registry: string, name = 'app') {
  const place = parse(content).placeOf({ registry, name })
  return place?.type === 'helper' ? `${place.helper} ${place.server}` : undefined
}

describe('a Docker config.json', () => {
  it('is read as docker login writes it', () => {
    const content = { auths: { 'https://index.docker.io/v1/': { auth: base64('ann:pass:word') } }, credsStore: '' }
    assert.deepEqual(credentialOf(content, 'docker.io'), { username: 'ann', password: 'pass:word' })
    assert.equal(parse(content).placeOf({ registry: 'ghcr.io', name: 'org/app' }), undefined)
  })

  it('may name a registry in any of its ways', () => {
    for (const key of [
      'docker.io',
      'index.docker.io',
      'https://registry-1.docker.io',
      'index.docker.io/v1/',
      'http://docker.io/v2/',
    ]) {
      assert.equal(userFor({ [key]: { auth: base64('ann:x') } }, 'docker.io', 'a/b'), 'ann', key)
    }
    for (const key of [
      'r.example:5000',
      'https://r.example:5000',
      'https://r.example:5000/',
      'https://r.example:5000/v2/',
    ]) {
      assert.equal(userFor({ [key]: { username: 'bob', password: 'x' } }, 'r.example:5000', 'a'), 'bob', key)
    }
  })

  it('may have keys with any number of slashes', () => {
    const slashes = '/'.repeat(200_000)
    const auths = { [`r.example${slashes}`]: { auth: base64('ann:x') }, [`${slashes}x`]: { auth: base64('bob:x') } }
    assert.equal(userFor(auths, 'r.example', 'a/b'), 'ann')
  })

  it('gives the credential of the longest prefix, whole components only', () => {
    const entry = (user: string) => ({ auth: base64(`${user}:x`) })
    const auths = {
      'r.example': entry('all'),
      'r.example/team': entry('team'),
      'r.example/team/app': entry('app'),
      'r.example/v2': entry('v2'),
    }
    for (const [name, user] of [
      ['other', 'all'],
      ['team', 'team'],
      ['team/x', 'team'],
      ['team/app', 'app'],
      ['team/app/y', 'app'],
      ['team/application', 'team'],
      ['teamwork', 'all'],
      ['v2/x', 'v2'],
    ] as const) {
      assert.equal(userFor(auths, 'r.example', name), user, name)
    }
    assert.equal(userFor(auths, 'r.example.evil', 'team'), undefined)
    assert.equal(userFor({ '': entry('nobody') }, 'r.example', 'team'), undefined)
  })

  it('may have no entries', () => {
    const hub = { registry: 'docker.io', name: 'a' }
    for (const content of [
      {},
      { auths: {}, credHelpers: {} },
      { auths: { 'docker.io': {} } },
      { auths: { a: { auth: '' } } },
    ]) {
      assert.equal(parse(content).placeOf(hub), undefined, JSON.stringify(content))
    }
  })

  it('may have tokens in the place of passwords', () => {
    const auths = {
      'id.example': { identitytoken: 'refresh' },
      'acr.example': { auth: base64('00000000-0000-0000-0000-000000000000:'), identitytoken: 'refresh' },
      'reg.example': { auth: base64('ann:x'), registrytoken: 'bearer' },
    }
    assert.deepEqual(credentialOf({ auths }, 'id.example'), { identityToken: 'refresh', username: '' })
    assert.deepEqual(credentialOf({ auths }, 'acr.example'), {
      identityToken: 'refresh',
      username: '00000000-0000-0000-0000-000000000000',
    })
    assert.deepEqual(credentialOf({ auths }, 'reg.example'), { registryToken: 'bearer' })
  })

  it('may leave them to helpers: those of a registry first, and the store has what is named nowhere', () => {
    const content = {
      auths: {
        'https://index.docker.io/v1/': {},
        'own.example': { auth: base64('ann:x') },
        'both.example': { auth: base64('ann:x') },
        'both.example/team': { auth: base64('ann:x') },
      },
      credHelpers: { 'gcr.example': 'gcloud', 'https://both.example': 'ecr-login', 'docker.io/team': 'team' },
      credsStore: 'desktop',
    }
    assert.equal(helperFor(content, 'docker.io', 'library/app'), 'desktop https://index.docker.io/v1/')
    assert.equal(helperFor(content, 'docker.io', 'team/app'), 'team docker.io/team')
    assert.equal(helperFor(content, 'gcr.example', 'a/b'), 'gcloud gcr.example')
    assert.equal(helperFor(content, 'both.example'), 'ecr-login both.example')
    assert.equal(helperFor(content, 'both.example', 'team/app'), undefined)
    assert.equal(helperFor(content, 'other.example:5000'), 'desktop other.example:5000')
    assert.equal(userFor(content.auths, 'own.example', 'a'), 'ann')
    assert.equal(helperFor(content, 'own.example'), undefined)
  })

  it('that cannot be used says so without a secret in it', () => {
    const secret = 'hunter2-hunter2'
    for (const [content, sentence] of [
      [`{"auths":{"r.example":{"auth":"${secret}`, 'is not a Docker config.json'],
      [`"${secret}"`, 'is not a Docker config.json'],
      ['', 'is not a Docker config.json'],
      [{ auths: { 'r.example': secret } }, 'is not a Docker config.json'],
      [{ auths: { 'r.example': { auth: [secret] } } }, 'is not a Docker config.json'],
      [{ credHelpers: { 'r.example': { secret } } }, 'is not a Docker config.json'],
      [{ auths: { 'r.example': { auth: base64(secret) } } }, 'has an entry that cannot be read: auths["r.example"]'],
      [{ auths: { 'r.example': { auth: base64(':') } } }, 'has an entry that cannot be read: auths["r.example"]'],
      [{ auths: { 'r.example': { username: 'ann' } } }, 'has an entry that cannot be read: auths["r.example"]'],
      [{ auths: { r: { registrytoken: `${secret}\nx: y` } } }, 'has an entry that cannot be read: auths["r"]'],
      [{ credsStore: `../${secret}` }, 'has a name of a helper that cannot be one: credsStore'],
      [{ credHelpers: { r: `sh -c ${secret}` } }, 'has a name of a helper that cannot be one: credHelpers["r"]'],
    ] as const) {
      assert.throws(
        () => parse(content),
        (error: Error) => error.message === sentence && error.cause === undefined,
        JSON.stringify(content),
      )
    }
  })

  it('may have wildcards in the labels of a host, as the kubelet has them', () => {
    const entry = (user: string) => ({ auth: base64(`${user}:x`) })
    for (const [key, registry, matches] of [
      ['*.example.com', 'a.example.com', true],
      ['https://*.example.com/', 'a.example.com', true],
      ['*.EXAMPLE.com', 'a.example.com', true],
      ['*.example.com', 'example.com', false],
      ['*.example.com', 'a.b.example.com', false],
      ['*.*.example.com', 'a.b.example.com', true],
      ['*.example.com', 'a.example.com:5000', false],
      ['*.example.com:5000', 'a.example.com:5000', true],
      ['*.example.com:5000', 'a.example.com', false],
      ['*.example.com:*', 'a.example.com:5000', false],
      ['*.example.com:443', 'a.example.com', true],
      ['*.example.com:0443', 'a.example.com:5000', false],
      ['a.example.com:443', 'a.example.com', true],
      ['*.dkr.ecr.*.amazonaws.com', '123.dkr.ecr.eu-west-1.amazonaws.com', true],
      ['app*.example.com', 'app7.example.com', true],
      ['app*.example.com', 'map7.example.com', false],
      ['a*b*c.example.com', 'a-bb-c.example.com', true],
      ['ab*bc.example.com', 'abc.example.com', false],
      ['*.io', 'docker.io', true],
      ['*', 'localhost', true],
      ['*', 'r.example', false],
    ] as const) {
      assert.equal(
        userFor({ [key]: entry('ann') }, registry, 'team/app'),
        matches ? 'ann' : undefined,
        `${key} ${registry}`,
      )
    }
  })

  it('gives keys without wildcards first, then those with them, backwards', () => {
    const entry = (user: string) => ({ auth: base64(`${user}:x`) })
    const auths = {
      '*.example.com': entry('any'),
      '*.example.com/team': entry('team'),
      'r.example.com': entry('own'),
      'a*.example.com': entry('a'),
    }
    for (const [registry, name, user] of [
      ['r.example.com', 'team/app', 'own'],
      ['b.example.com', 'team/app', 'team'],
      ['b.example.com', 'team', 'team'],
      ['b.example.com', 'teams/app', 'any'],
      ['a1.example.com', 'team/app', 'a'],
      ['other.test', 'team/app', undefined],
    ] as const) {
      assert.equal(userFor(auths, registry, name), user, `${registry}/${name}`)
    }
  })

  it('asks a helper that is named by wildcards for the registry of the image', () => {
    const content = { credHelpers: { '*.dkr.ecr.*.amazonaws.com': 'ecr-login' }, credsStore: 'desktop' }
    assert.equal(
      helperFor(content, '123.dkr.ecr.eu-west-1.amazonaws.com'),
      'ecr-login 123.dkr.ecr.eu-west-1.amazonaws.com',
    )
    assert.equal(helperFor(content, 'ghcr.io'), 'desktop ghcr.io')
  })
})
