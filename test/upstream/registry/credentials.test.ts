import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { readCredentials } from '../../../src/upstream/registry/credentials.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('a credentials file', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-credentials-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  async function read(content: unknown) {
    const file = join(directory, 'config.json')
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
    return readCredentials(file)
  }
  const userFor = async (auths: object, registry: string, name: string) =>
    (await read({ auths }))({ registry, name })?.username

  it('is read as docker login writes it', async () => {
    const find = await read({
      auths: { 'https://index.docker.io/v1/': { auth: base64('ann:pass:word') } },
      credsStore: '',
    })
    assert.deepEqual(find({ registry: 'docker.io', name: 'library/app' }), { username: 'ann', password: 'pass:word' })
    assert.equal(find({ registry: 'ghcr.io', name: 'org/app' }), undefined)
  })

  it('may name a registry in any of its ways', async () => {
    for (const key of [
      'docker.io',
      'index.docker.io',
      'https://registry-1.docker.io',
      'index.docker.io/v1/',
      'http://docker.io/v2/',
    ]) {
      assert.equal(await userFor({ [key]: { auth: base64('ann:x') } }, 'docker.io', 'a/b'), 'ann', key)
    }
    for (const key of [
      'r.example:5000',
      'https://r.example:5000',
      'https://r.example:5000/',
      'https://r.example:5000/v2/',
    ]) {
      assert.equal(await userFor({ [key]: { username: 'bob', password: 'x' } }, 'r.example:5000', 'a'), 'bob', key)
    }
  })

  it('gives the credential of the longest prefix, whole components only', async () => {
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
      assert.equal(await userFor(auths, 'r.example', name), user, name)
    }
    assert.equal(await userFor(auths, 'r.example.evil', 'team'), undefined)
    assert.equal(await userFor({ '': entry('nobody') }, 'r.example', 'team'), undefined)
  })

  it('may have no entries', async () => {
    assert.equal((await read({}))({ registry: 'docker.io', name: 'a' }), undefined)
    assert.equal((await read({ auths: {}, credHelpers: {} }))({ registry: 'docker.io', name: 'a' }), undefined)
  })

  it('that cannot be used says so in a sentence without a secret in it', async () => {
    const secret = 'hunter2-hunter2'
    for (const [content, sentence] of [
      [`{"auths":{"r.example":{"auth":"${secret}`, /is not a Docker config\.json/],
      [`"${secret}"`, /is not a Docker config\.json/],
      [{ auths: { 'r.example': secret } }, /is not a Docker config\.json/],
      [{ auths: { 'r.example': { auth: [secret] } } }, /is not a Docker config\.json/],
      [{ auths: { 'r.example': { auth: base64(secret) } } }, /has an entry that cannot be read: auths\["r\.example"\]/],
      [{ auths: { 'r.example': { auth: base64(`:${secret}`) } } }, /has an entry that cannot be read/],
      [{ auths: { 'r.example': { username: 'ann' } } }, /has an entry that cannot be read/],
      [
        { auths: { 'r.example': { auth: base64('ann:'), identitytoken: secret } } },
        /has a token that this version cannot use/,
      ],
      [{ credsStore: 'desktop' }, /names credential helpers/],
      [{ credHelpers: { 'gcr.io': 'gcloud' } }, /names credential helpers/],
      [' '.repeat(1024 * 1024 + 1), /is not a Docker config\.json/],
    ] as const) {
      await assert.rejects(read(content), (error: Error) => {
        assert.match(error.message, sentence)
        assert.ok(!`${error.message} ${String(error.cause)}`.includes(secret))
        return true
      })
    }
    await assert.rejects(readCredentials(join(directory, 'missing')), /missing cannot be read: ENOENT/)
  })
})
