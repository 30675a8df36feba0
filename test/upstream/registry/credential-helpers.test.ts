import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { CredentialHelpers } from '../../../src/upstream/registry/credential-helpers.ts'
import type { CredentialProgramsOptions } from '../../../src/upstream/registry/credential-programs.ts'
import { says, writeHelper } from '../../support/credential-helper.ts'
import { eventually } from '../../support/poll.ts'
import { type RecordedLog, recordedLog } from '../../support/recorded-log.ts'

const signal = new AbortController().signal
const ann = { username: 'ann', password: 'hunter2-hunter2' }
const annSays = says(ann.username, ann.password)

describe('credential helpers', () => {
  let directory: string
  let log: RecordedLog
  let made: CredentialHelpers[]
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-helpers-'))
    log = recordedLog()
    made = []
  })
  afterEach(async () => {
    mock.timers.reset()
    for (const helpers of made) helpers.stop()
    await rm(directory, { recursive: true, force: true })
  })

  function make(options: Partial<CredentialProgramsOptions> = {}): CredentialHelpers {
    const helpers = new CredentialHelpers({ log, env: { PATH: directory }, patience: 60_000, ...options })
    made.push(helpers)
    return helpers
  }
  const hasEnded = async (pid: number) => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    return stat === '' || /\) [ZX] /.test(stat)
  }

  it('are asked once for many, and what they say is kept', async () => {
    const script = await writeHelper(directory, 'lab', `/bin/sleep 0.2; ${annSays}`)
    const helpers = make()
    const answers = await Promise.all(Array.from({ length: 20 }, () => helpers.get('lab', 'r.example', { signal })))
    for (const answer of answers) assert.deepEqual(answer, ann)
    assert.deepEqual(await helpers.get('lab', 'r.example', { signal }), ann)
    assert.deepEqual(await script.asked(), ['get r.example'])
    assert.deepEqual(log.lines, [])
  })

  it('may have nothing, or an identity token', async () => {
    await writeHelper(directory, 'none', 'echo "credentials not found in native keychain"; exit 1')
    await writeHelper(directory, 'empty', says('ann', ''))
    await writeHelper(directory, 'token', says('<token>', 'refresh'))
    const helpers = make()
    assert.equal(await helpers.get('none', 'r.example', { signal }), undefined)
    assert.equal(await helpers.get('empty', 'r.example', { signal }), undefined)
    assert.deepEqual(await helpers.get('token', 'r.example', { signal }), { identityToken: 'refresh', username: '' })
    assert.deepEqual(log.lines, [])
  })

  it('are given the server as it is: there is no shell', async () => {
    const script = await writeHelper(directory, 'lab', annSays)
    const server = `r.example; touch ${directory}/harm $(touch ${directory}/harm)`
    assert.deepEqual(await make().get('lab', server, { signal }), ann)
    assert.deepEqual(await script.asked(), [`get ${server}`])
    assert.equal(existsSync(join(directory, 'harm')), false)
  })

  it('that fail are told of in one line without what they wrote, and the pull goes on without', async () => {
    const secret = ann.password
    await writeHelper(directory, 'fails', `echo "no login for ${secret}" >&2; echo "${secret}"; exit 3`)
    await writeHelper(directory, 'lies', `echo '{"Secret": "${secret}"'`)
    await writeHelper(directory, 'nameless', says('', secret))
    await writeHelper(directory, 'talks', `while :; do echo ${secret}${secret}${secret}${secret}; done`)
    await writeFile(join(directory, 'docker-credential-locked'), 'no program')
    await chmod(join(directory, 'docker-credential-locked'), 0o644)
    const helpers = make()
    for (const [helper, reason] of [
      ['fails', 'docker-credential-fails failed: exit code 3'],
      ['lies', 'docker-credential-lies wrote what is no answer'],
      ['talks', 'docker-credential-talks wrote more than 65536 bytes'],
      ['locked', 'docker-credential-locked cannot be run: EACCES'],
      [
        'missing',
        'docker-credential-missing is not on the PATH, or needs an interpreter or a library that is not there',
      ],
    ] as const) {
      log.lines.length = 0
      for (let i = 0; i < 3; i += 1) assert.equal(await helpers.get(helper, 'r.example', { signal }), undefined)
      assert.equal(log.lines.length, 1, log.lines.join('\n'))
      assert.ok(log.lines[0]?.includes(JSON.stringify(reason)), log.lines.join('\n'))
      assert.ok(!log.lines.join('\n').includes(secret))
    }
  })

  it('that hang are ended with all that they started, and meanwhile pulls go on without', async () => {
    const script = await writeHelper(directory, 'hangs', `/bin/sleep 600 & echo $! > ${directory}/child; wait`)
    const helpers = make({ timeout: 500, patience: 1 })
    assert.equal(await helpers.get('hangs', 'r.example', { signal }), undefined)
    await eventually('it is said', () => log.lines.length > 0)
    assert.match(log.lines.join('\n'), /^warn .*docker-credential-hangs gave no answer in 500 ms[^\n]*$/)
    const [pid = 0] = await script.pids()
    const child = Number(await readFile(join(directory, 'child'), 'utf8'))
    await eventually('both have ended', async () => (await hasEnded(pid)) && (await hasEnded(child)))
  })

  it('are ended when the last who waits has gone, and not before', async () => {
    const script = await writeHelper(directory, 'hangs', '/bin/sleep 600')
    const helpers = make()
    const first = new AbortController()
    const second = new AbortController()
    const waiting = [first, second].map(({ signal }) => helpers.get('hangs', 'r.example', { signal }))
    const [pid = 0] = await eventually('it runs', async () => {
      const pids = await script.pids()
      return pids.length > 0 && pids
    })
    first.abort(new Error('first gone'))
    await assert.rejects(waiting[0] ?? assert.fail(), /first gone/)
    assert.equal(await hasEnded(pid), false)
    second.abort(new Error('second gone'))
    await assert.rejects(waiting[1] ?? assert.fail(), /second gone/)
    await eventually('it has ended', () => hasEnded(pid))
    assert.deepEqual(log.lines, [])
    await writeHelper(directory, 'hangs', annSays)
    assert.deepEqual(await helpers.get('hangs', 'r.example', { signal }), ann)
  })

  it('run a few at a time', async () => {
    const running = join(directory, 'running')
    await mkdir(running)
    const count = `: > ${running}/$$; /bin/ls ${running} | /usr/bin/wc -l >> ${directory}/seen`
    await writeHelper(directory, 'slow', `${count}; /bin/sleep 0.1; /bin/rm ${running}/$$; ${annSays}`)
    const helpers = make()
    await Promise.all(Array.from({ length: 12 }, (_, i) => helpers.get('slow', `r${i}.example`, { signal })))
    const seen = (await readFile(join(directory, 'seen'), 'utf8')).trim().split('\n').map(Number)
    assert.equal(seen.length, 12)
    assert.ok(Math.max(...seen) <= 4, seen.join(' '))
  })

  it('are asked again when their credential was refused, but not for every refusal', async () => {
    let now = 0
    const script = await writeHelper(directory, 'lab', annSays)
    const helpers = make({ now: () => now })
    const first = (await helpers.get('lab', 'r.example', { signal })) ?? assert.fail()
    helpers.refused(first)
    await helpers.get('lab', 'r.example', { signal })
    assert.equal((await script.asked()).length, 1)
    now += 11_000
    helpers.refused({ ...first })
    await helpers.get('lab', 'r.example', { signal })
    assert.equal((await script.asked()).length, 1)
    helpers.refused(first)
    await helpers.get('lab', 'r.example', { signal })
    assert.equal((await script.asked()).length, 2)
  })

  it('are asked again after some minutes, and sooner when they failed', async () => {
    let now = 0
    const script = await writeHelper(directory, 'lab', annSays)
    const broken = await writeHelper(directory, 'broken', 'exit 1')
    const helpers = make({ now: () => now })
    for (const [helper, notes, kept, gone] of [
      ['lab', script, 299_000, 2_000],
      ['broken', broken, 29_000, 2_000],
    ] as const) {
      await helpers.get(helper, 'r.example', { signal })
      now += kept
      await helpers.get(helper, 'r.example', { signal })
      assert.equal((await notes.asked()).length, 1)
      now += gone
      await helpers.get(helper, 'r.example', { signal })
      assert.equal((await notes.asked()).length, 2)
    }
    assert.equal(log.lines.length, 1)
  })

  it('are asked again at the same time when the wall clock is set back', async () => {
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    let now = 0
    const script = await writeHelper(directory, 'lab', annSays)
    const helpers = make({ now: () => now })
    const first = (await helpers.get('lab', 'r.example', { signal })) ?? assert.fail()
    mock.timers.setTime(Date.now() - 3_600_000)
    now += 11_000
    helpers.refused(first)
    await helpers.get('lab', 'r.example', { signal })
    assert.equal((await script.asked()).length, 2)
    mock.timers.setTime(Date.now() - 3_600_000)
    now += 301_000
    await helpers.get('lab', 'r.example', { signal })
    assert.equal((await script.asked()).length, 3)
  })

  it('leave nothing behind when the daemon stops', async () => {
    const script = await writeHelper(directory, 'hangs', '/bin/sleep 600')
    const helpers = make()
    const waiting = Array.from({ length: 6 }, (_, i) => helpers.get('hangs', `r${i}.example`, { signal }))
    const pids = await eventually('four run', async () => {
      const found = await script.pids()
      return found.length >= 4 && found
    })
    helpers.stop()
    assert.deepEqual(await Promise.all(waiting), Array(6).fill(undefined))
    for (const pid of pids) await eventually('it has ended', () => hasEnded(pid))
    assert.equal((await script.pids()).length, 4)
    assert.deepEqual(log.lines, [])
  })
})
