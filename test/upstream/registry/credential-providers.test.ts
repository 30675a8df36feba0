import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { readProviders } from '../../../src/upstream/registry/credential-providers.ts'
import type { Credential } from '../../../src/upstream/registry/credential.ts'
import type { Credentials } from '../../../src/upstream/registry/credentials.ts'
import { providerConfig, replies, writeProvider } from '../../support/credential-provider.ts'
import { type RecordedLog, recordedLog } from '../../support/recorded-log.ts'

const signal = new AbortController().signal
const SECRET = 'hunter2-hunter2'
const login = (username: string) => ({ username, password: SECRET })
const app = { registry: 'r.example', name: 'team/app' }

describe("the kubelet's credential providers", () => {
  let directory: string
  let file: string
  let log: RecordedLog
  let opened: Credentials[]
  let now = 0
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-providers-'))
    file = join(directory, 'config.json')
    log = recordedLog()
    opened = []
    now = 0
  })
  afterEach(async () => {
    for (const credentials of opened) credentials.close()
    await rm(directory, { recursive: true, force: true })
  })

  const open = async (...providers: readonly object[]) => {
    await writeFile(file, providerConfig(...providers))
    const options = { directory, log, env: { SEEN: 'from-nabo' }, patience: 60_000, interval: 0, now: () => now }
    const credentials = await readProviders(file, options)
    opened.push(credentials)
    return credentials
  }
  const userOf = (credential: Credential | undefined) =>
    credential !== undefined && 'username' in credential ? credential.username : undefined

  it('are asked by the exec API, once for all who wait, with arguments and environment of their own', async () => {
    const reply = replies({ cacheKeyType: 'Image', auth: { '*.example': login('ann') } })
    const script = await writeProvider(directory, 'lab', `[ "$1 $2" = "get it" ] || exit 3; /bin/sleep 0.2; ${reply}`)
    const credentials = await open({ name: 'lab', args: ['get', 'it'], env: [{ name: 'REGION', value: 'eu' }] })
    const found = await Promise.all(Array.from({ length: 20 }, () => credentials.find(app, { signal })))
    for (const credential of found) assert.deepEqual(credential, login('ann'))
    assert.deepEqual(await script.asked(), ['r.example/team/app'])
    assert.match(await script.environment(), /^REGION=eu$/m)
    assert.match(await script.environment(), /^SEEN=from-nabo$/m)
    assert.equal(await credentials.find({ registry: 'r.test', name: 'app' }, { signal }), undefined)
    assert.equal((await script.asked()).length, 1)
    assert.deepEqual(log.lines, [])
  })

  it('say for which images an answer holds', async () => {
    const images = [app, { ...app, name: 'team/other' }, { registry: 's.example', name: 'app' }]
    for (const [cacheKeyType, count] of [
      ['Image', 3],
      ['Registry', 2],
      ['Global', 1],
    ] as const) {
      const reply = replies({ cacheKeyType, auth: { '*.example': login('ann') } })
      const script = await writeProvider(directory, cacheKeyType, reply)
      const credentials = await open({ name: cacheKeyType })
      for (const image of [...images, ...images])
        assert.deepEqual(await credentials.find(image, { signal }), login('ann'))
      assert.equal((await script.asked()).length, count, cacheKeyType)
    }
  })

  it('say how long it holds, and else the configuration does; one pull asks once in any case', async () => {
    for (const [name, cacheDuration, defaultCacheDuration, life] of [
      ['own', '20m0s', '1h', 1_200_000],
      ['default', undefined, '1h', 3_600_000],
      ['never', '0s', '1h', 10_000],
      ['default-never', undefined, '0s', 10_000],
    ] as const) {
      const reply = replies({ cacheKeyType: 'Global', cacheDuration, auth: { '*.example': login('ann') } })
      const script = await writeProvider(directory, name, reply)
      const credentials = await open({ name, defaultCacheDuration })
      await credentials.find(app, { signal })
      now += life - 1
      await credentials.find(app, { signal })
      assert.equal((await script.asked()).length, 1, name)
      now += 1
      await credentials.find(app, { signal })
      assert.equal((await script.asked()).length, 2, name)
    }
  })

  it('are combined, in the order of their patterns', async () => {
    await writeProvider(
      directory,
      'first',
      replies({
        cacheKeyType: 'Image',
        auth: { '*.example': login('any'), 'r.example/team': login('team'), 'x.test': login('x') },
      }),
    )
    const nothing = { '*.example': { username: '', password: '' } }
    await writeProvider(directory, 'second', replies({ cacheKeyType: 'Image', auth: nothing }))
    await writeProvider(directory, 'third', replies({ cacheKeyType: 'Image', auth: { '*.example': login('later') } }))
    const credentials = await open({ name: 'first' }, { name: 'second' }, { name: 'third' })
    for (const [registry, name, user] of [
      ['r.example', 'team/app', 'team'],
      ['r.example', 'other', 'any'],
      ['s.example', 'team', 'any'],
    ] as const)
      assert.equal(userOf(await credentials.find({ registry, name }, { signal })), user, `${registry}/${name}`)
  })

  it('are asked again when their credential was refused', async () => {
    const script = await writeProvider(
      directory,
      'lab',
      replies({ cacheKeyType: 'Global', auth: { '*.example': login('ann') } }),
    )
    const credentials = await open({ name: 'lab' })
    const found = (await credentials.find(app, { signal })) ?? assert.fail()
    credentials.refused(found)
    await credentials.find(app, { signal })
    assert.equal((await script.asked()).length, 1)
    now += 11_000
    credentials.refused(found)
    await credentials.find(app, { signal })
    assert.equal((await script.asked()).length, 2)
  })

  it('that fail are told of in one line without what they wrote', async () => {
    const auth = { '*.example': login('ann') }
    for (const [name, script, reason] of [
      ['fails', `echo ${SECRET}; exit 3`, 'fails failed: exit code 3'],
      ['lies', `echo '{"auth": "${SECRET}"'`, 'lies wrote what is no answer'],
      [
        'old',
        replies({ apiVersion: 'credentialprovider.kubelet.k8s.io/v1alpha1', cacheKeyType: 'Image', auth }),
        'old answered in another version than credentialprovider.kubelet.k8s.io/v1',
      ],
      ['odd', replies({ cacheKeyType: 'Cluster', auth }), 'odd wrote what is no answer'],
      ['talks', `while :; do echo ${SECRET}${SECRET}; done`, 'talks wrote more than 65536 bytes'],
    ] as const) {
      await writeProvider(directory, name, script)
      log.lines.length = 0
      const credentials = await open({ name })
      for (let count = 0; count < 3; count += 1) assert.equal(await credentials.find(app, { signal }), undefined)
      assert.equal(log.lines.length, 1, log.lines.join('\n'))
      assert.ok(log.lines[0]?.includes(reason), log.lines.join('\n'))
      assert.ok(!log.lines.join('\n').includes(SECRET))
    }
    const credentials = await open({ name: 'missing' })
    log.lines.length = 0
    assert.equal(await credentials.find(app, { signal }), undefined)
    assert.match(log.lines.join('\n'), new RegExp(`missing is not in ${directory}`))
  })

  it('that need the token of a service account are left out, and the log says so', async () => {
    const tokenAttributes = { serviceAccountTokenAudience: 'x', requireServiceAccount: true, cacheType: 'Token' }
    const credentials = await open({ name: 'lab', tokenAttributes })
    assert.equal(await credentials.find(app, { signal }), undefined)
    assert.equal(log.lines.length, 1)
    assert.match(log.lines[0] ?? '', /a credential provider is left out: it needs the token of a service account/)
    assert.match(log.lines[0] ?? '', /"provider":"lab"/)
  })

  it('are those of the file as it is now', async () => {
    await writeProvider(directory, 'one', replies({ cacheKeyType: 'Global', auth: { '*.example': login('one') } }))
    await writeProvider(directory, 'two', replies({ cacheKeyType: 'Global', auth: { '*.example': login('two') } }))
    const credentials = await open({ name: 'one' })
    assert.equal(userOf(await credentials.find(app, { signal })), 'one')
    await writeFile(file, providerConfig({ name: 'two' }))
    assert.equal(userOf(await credentials.find(app, { signal })), 'two')
  })

  it('that cannot be used at the start say so', async () => {
    await writeFile(file, providerConfig({ name: 'lab' }))
    await assert.rejects(
      readProviders(file, { directory: join(directory, 'none'), log }),
      /the directory of credential providers .*none cannot be read: ENOENT/,
    )
    await assert.rejects(readProviders(file, { directory: file, log }), /cannot be read: it is no directory/)
    await assert.rejects(
      readProviders(join(directory, 'none'), { directory, log }),
      /the configuration of credential providers .*none cannot be read: ENOENT/,
    )
  })
})
