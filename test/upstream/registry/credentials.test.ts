import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'

import type { Credential } from '../../../src/upstream/registry/credential.ts'
import { type Credentials, readCredentials } from '../../../src/upstream/registry/credentials.ts'
import { says, writeHelper } from '../../support/credential-helper.ts'
import { openBelow } from '../../support/descriptors.ts'
import { type RecordedLog, recordedLog } from '../../support/recorded-log.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const signal = new AbortController().signal
const app = { registry: 'r.example', name: 'app' }
const secret = 'hunter2-hunter2'

describe('a credentials file', () => {
  let directory: string
  let file: string
  let log: RecordedLog
  let opened: Credentials[]
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-credentials-'))
    file = join(directory, 'config.json')
    log = recordedLog()
    opened = []
  })
  afterEach(async () => {
    mock.timers.reset()
    for (const credentials of opened) credentials.close()
    await rm(directory, { recursive: true, force: true })
  })

  const config = (user: string) => JSON.stringify({ auths: { 'r.example': { auth: base64(`${user}:${secret}`) } } })
  async function open(path = file, interval = 0) {
    const credentials = await readCredentials(path, { log, env: { PATH: directory }, interval })
    opened.push(credentials)
    return credentials
  }
  const nameOf = (credential: Credential | undefined) =>
    credential !== undefined && 'username' in credential ? credential.username : undefined
  const userOf = async (credentials: Credentials) => nameOf(await credentials.find(app, { signal }))

  it('that cannot be used at the start says so in a sentence without a secret in it', async () => {
    for (const [content, sentence] of [
      [`{"auths":{"r.example":{"auth":"${secret}`, `the credentials file ${file} is not a Docker config.json`],
      [' '.repeat(1024 * 1024 + 1), `the credentials file ${file} is not a Docker config.json`],
      [
        JSON.stringify({ auths: { 'r.example': { auth: base64(secret) } } }),
        `the credentials file ${file} has an entry that cannot be read: auths["r.example"]`,
      ],
    ] as const) {
      await writeFile(file, content)
      await assert.rejects(open(), (error: Error) => {
        assert.equal(error.message, sentence)
        assert.ok(!String(error.cause).includes(secret))
        return true
      })
    }
    await assert.rejects(open(join(directory, 'missing')), /missing cannot be read: ENOENT/)
  })

  it('is read again when it was written to, replaced or a directory above it swapped', async () => {
    const versions = ['..1', '..2', '..3'].map((name) => join(directory, name))
    for (const [i, version] of versions.entries()) {
      await mkdir(version)
      await writeFile(join(version, 'config.json'), config(`v${i + 1}`))
    }
    // As the kubelet mounts a secret: config.json -> ..data/config.json, ..data -> ..<time>
    await symlink('..1', join(directory, '..data'))
    await symlink('..data/config.json', file)
    const credentials = await open()
    assert.equal(await userOf(credentials), 'v1')
    for (const next of ['2', '3']) {
      await symlink(`..${next}`, join(directory, '..data_tmp'))
      await rename(join(directory, '..data_tmp'), join(directory, '..data'))
      assert.equal(await userOf(credentials), `v${next}`)
    }
    await writeFile(join(directory, 'new'), config('replaced'))
    await rename(join(directory, 'new'), file)
    assert.equal(await userOf(credentials), 'replaced')
    await writeFile(file, config('written'))
    assert.equal(await userOf(credentials), 'written')
    assert.equal(log.lines.filter((line) => line.startsWith('info')).length, 4, log.lines.join('\n'))
    assert.deepEqual(await openBelow(directory), [])
  })

  it('that is broken or gone leaves what it said before, and says so once', async () => {
    await writeFile(file, config('ann'))
    const credentials = await open()
    await writeFile(file, `{"auths":{"r.example":{"auth":"${secret}"`)
    for (let i = 0; i < 5; i += 1) assert.equal(await userOf(credentials), 'ann')
    assert.equal(log.lines.length, 1)
    assert.match(log.lines[0] ?? '', /^warn .*what it said before stays.*is not a Docker config\.json/)
    await rm(file)
    for (let i = 0; i < 5; i += 1) assert.equal(await userOf(credentials), 'ann')
    assert.equal(log.lines.length, 2)
    assert.match(log.lines[1] ?? '', /^warn .*cannot be read: ENOENT/)
    await writeFile(file, config('bob'))
    assert.equal(await userOf(credentials), 'bob')
    assert.equal(log.lines.length, 3)
    assert.ok(!log.lines.join('\n').includes(secret))
  })

  it('is read again in time when the wall clock is set back', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    await writeFile(file, config('ann'))
    const credentials = await open(file, 10)
    for (const user of ['bob', 'eve']) {
      mock.timers.setTime(Date.now() - 3_600_000)
      await writeFile(file, config(user))
      await pause(15)
      assert.equal(await userOf(credentials), user)
    }
  })

  it('is read once for many who ask at the same time', async () => {
    await writeFile(file, config('ann'))
    const credentials = await open()
    await writeFile(file, config('bob'))
    const users = await Promise.all(Array.from({ length: 50 }, () => userOf(credentials)))
    assert.deepEqual([...new Set(users)], ['bob'])
    assert.equal(log.lines.length, 1)
  })

  it('names the helpers to ask, and when it changes they are asked again', async () => {
    const helper = await writeHelper(directory, 'lab', says('ann', secret))
    await writeFile(file, JSON.stringify({ credsStore: 'lab' }))
    const credentials = await open()
    const hub = { registry: 'docker.io', name: 'library/app' }
    assert.deepEqual(await credentials.find(hub, { signal }), { username: 'ann', password: secret })
    assert.deepEqual(await credentials.find(app, { signal }), { username: 'ann', password: secret })
    assert.deepEqual(await credentials.find(app, { signal }), { username: 'ann', password: secret })
    assert.deepEqual(await helper.asked(), ['get https://index.docker.io/v1/', 'get r.example'])
    await writeHelper(directory, 'lab', says('bob', secret))
    await writeFile(file, JSON.stringify({ credHelpers: { 'r.example': 'lab' } }))
    assert.equal(await userOf(credentials), 'bob')
    assert.equal(await credentials.find(hub, { signal }), undefined)
    assert.equal((await helper.asked()).length, 3)
  })
})
