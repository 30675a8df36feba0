import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import { keepMembers } from '../../src/daemon/kept-members.ts'
import { MAX_REMEMBERED } from '../../src/overlay/libp2p/remembered-routers.ts'
import { type TestDaemon, runDaemon } from '../support/daemon.ts'
import { eventually } from '../support/poll.ts'

const ROUTERS = ['/ip4/10.0.0.7/tcp/7952', '/ip6/fd00::7/tcp/7952']

describe('the members that a node keeps', () => {
  let directory: string
  const warnings: string[] = []
  const log = { warn: (_fields: object, message: string) => void warnings.push(message) }
  const path = () => join(directory, 'run', 'members.json')

  beforeEach(async () => {
    warnings.length = 0
    directory = await mkdtemp(join(tmpdir(), 'nabo-members-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const keep = () => keepMembers(join(directory, 'run'), log)
  /** What is read where the file has this text. */
  const readBack = async (text: string) => {
    const kept = await keep()
    kept.save([])
    await kept.stop()
    await writeFile(path(), text)
    return (await keep()).routers
  }

  it('are there for the next process, for its user alone', async () => {
    const first = await keep()
    assert.deepEqual(first.routers, [])
    first.save(ROUTERS.slice(1))
    first.save(ROUTERS)
    await first.stop()
    assert.deepEqual((await keep()).routers, ROUTERS)
    assert.equal((await stat(path())).mode & 0o777, 0o600)
    assert.equal((await stat(join(directory, 'run'))).mode & 0o777, 0o755)
    assert.deepEqual(warnings, [])
  })

  it('are none where the file is garbage, cut short, too long or of another version, and the next write mends it', async () => {
    const whole = JSON.stringify({ version: 1, routers: ROUTERS })
    const long = JSON.stringify({ version: 1, routers: ROUTERS, padding: 'x'.repeat(100_000) })
    for (const text of ['', '\0\0\0', whole.slice(0, 30), 'null', '{"version":2,"routers":[]}', '[]', long])
      assert.deepEqual(await readBack(text), [], text.slice(0, 40))
    assert.equal(warnings.length, 7)
    const names = await readdir(join(directory, 'run'))
    assert.deepEqual(names, ['members.json.broken'], 'one is set aside: the latest')
    const kept = await keep()
    kept.save(ROUTERS)
    await kept.stop()
    assert.deepEqual((await keep()).routers, ROUTERS)
  })

  it('are those of the file that are addresses, as many as are remembered', async () => {
    const odd = [7, null, {}, '', '10.0.0.1', '/unix/etc', `/dns/${'a'.repeat(200)}/tcp/1`, '/ip4/10.0.0.7/udp/1']
    assert.deepEqual(await readBack(JSON.stringify({ version: 1, routers: [...odd, ...ROUTERS] })), ROUTERS)
    const many = Array.from({ length: 300 }, (_, n) => `/ip4/10.0.0.${n % 250}/tcp/${n + 1}`)
    assert.equal((await readBack(JSON.stringify({ version: 1, routers: many }))).length, MAX_REMEMBERED)
  })

  it('are written as they are read: no long name takes the place of the others', async () => {
    const long = Array.from({ length: 10 }, (_, n) => `/dns/${'y'.repeat(3_500)}${n}/tcp/7952`)
    const first = await keep()
    first.save([...long, ...ROUTERS])
    await first.stop()
    assert.deepEqual((await keep()).routers, ROUTERS)
    const names = Array.from({ length: 300 }, (_, n) => `/dns/${'a'.repeat(55)}.${'b'.repeat(50)}${n + 100}/tcp/65535`)
    const second = await keep()
    second.save(names)
    await second.stop()
    assert.deepEqual((await keep()).routers, names.slice(0, MAX_REMEMBERED))
    assert.deepEqual(warnings, [])
  })

  it('are not kept without a directory, or in one that cannot be used, and the node starts', async () => {
    const none = await keepMembers(undefined, log)
    none.save(ROUTERS)
    await none.stop()
    assert.deepEqual(warnings, [])
    await writeFile(join(directory, 'run'), 'a file')
    const kept = await keep()
    kept.save(ROUTERS)
    await kept.stop()
    assert.equal(warnings.length, 2)
  })
})

describe('the run directory of a daemon', () => {
  let directory: string
  const daemons: TestDaemon[] = []
  const start = async (...flags: string[]) => {
    const daemon = await runDaemon(flags)
    daemons.push(daemon)
    return daemon
  }
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-run-'))
  })
  afterEach(async () => {
    await Promise.all(daemons.splice(0).map((one) => one.stop()))
    await rm(directory, { recursive: true, force: true })
  })

  it('keeps its identity and its members, also one that is damaged, and yields to the data directory', async () => {
    const run = ['--run-dir', join(directory, 'run')]
    const other = await start()
    const first = await start(...run, '--bootstrap', `static:${other.router}`)
    await eventually('they meet', async () => (await first.status()).peers === 1)
    await daemons.pop()?.stop()
    assert.deepEqual(JSON.parse(await readFile(join(directory, 'run/members.json'), 'utf8')), {
      version: 1,
      routers: [`/ip4/127.0.0.1/tcp/${other.router.split(':')[1]}`],
    })

    const second = await start(...run)
    assert.equal(second.id, first.id)
    await eventually('it finds its member without a bootstrap', async () => (await second.status()).peers === 1)
    await daemons.pop()?.stop()

    const elsewhere = await start(...run, '--data-dir', join(directory, 'data'))
    assert.notEqual(elsewhere.id, first.id)
    await daemons.pop()?.stop()

    const key = join(directory, 'run/identity.key')
    assert.equal((await stat(key)).mode & 0o777, 0o600)
    await writeFile(key, (await readFile(key)).subarray(0, 20))
    const third = await start(...run)
    assert.notEqual(third.id, first.id)
    await daemons.pop()?.stop()
    assert.equal((await start(...run)).id, third.id, 'it was replaced')
  })

  it('is done without where it cannot be used', async () => {
    await writeFile(join(directory, 'run'), 'a file')
    const daemon = await start('--run-dir', join(directory, 'run'))
    assert.equal((await daemon.status()).peers, 0)
    assert.ok(daemon.lines.some(({ msg }) => /the identity of this node is not kept/.test(String(msg))))
  })
})
