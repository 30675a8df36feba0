import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setImmediate } from 'node:timers/promises'

import { keepProofs } from '../../src/daemon/kept-proofs.ts'
import { PublicProofs } from '../../src/delivery/access/public-proofs.ts'
import type { KeptRepository } from '../../src/delivery/access/public-record.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { hour, second } from '../../src/time/units.ts'
import { UpstreamError } from '../../src/upstream/upstream.ts'
import { type RecordedLog, recordedLog } from '../support/recorded-log.ts'

const signal = new AbortController().signal
const app = { registry: 'docker.io', name: 'library/app' }
const other = { registry: 'reg.test:5000', name: 'team/app' }
const [one, two] = ['one', 'two'].map((text) => ({ kind: 'blobs', digest: digestOf(Buffer.from(text)) }) as const)
assert.ok(one && two)
const EPOCH = 1_700_000_000_000
const DAY = 24 * hour

describe('what registries show to everybody, in a file', () => {
  let directory: string
  let path: string
  let log: RecordedLog
  let isDown: boolean
  let asked: number

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-proofs-'))
    path = join(directory, 'proofs.json')
    log = recordedLog()
    isDown = false
    asked = 0
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: EPOCH })
  })
  afterEach(async () => {
    mock.timers.reset()
    await rm(directory, { recursive: true, force: true })
  })

  /** A process: its monotonic clock begins anew, and goes on with the wall clock. */
  function createProofs(): PublicProofs {
    const start = Date.now()
    const upstream = {
      shows: async () => {
        asked += 1
        if (isDown) throw new UpstreamError('unreachable', 'no route')
        return { anonymous: true }
      },
    }
    return new PublicProofs({ upstream, now: () => 1000 + Date.now() - start })
  }
  const keep = async (proofs: Parameters<typeof keepProofs>[1] = createProofs(), dataDir = directory) => ({
    proofs,
    end: await keepProofs(dataDir, proofs, log),
  })
  const start = async () => {
    const proofs = createProofs()
    const { end } = await keep(proofs)
    return { proofs, end }
  }
  /** What is read from a file with this text. */
  const read = async (text: string): Promise<readonly KeptRepository[]> => {
    await writeFile(path, text)
    let kept: readonly KeptRepository[] = []
    await keep({ kept: () => [], restore: (rows) => void (kept = rows), onChange: () => {} })
    return kept
  }
  const fileOf = (...repositories: readonly unknown[]) => JSON.stringify({ version: 1, repositories })

  it('are as old after a restart as they are', async () => {
    const first = await start()
    first.proofs.shown(app, one.digest)
    mock.timers.tick(hour)
    first.proofs.shown(app, two.digest)
    first.proofs.shown(other, one.digest)
    await first.end()
    mock.timers.tick(3 * hour)
    const { proofs } = await start()
    assert.equal(proofs.publicAge(app), 3 * hour)
    for (const content of [one, two]) assert.equal(proofs.knows(app, content), true)
    assert.equal(proofs.knows(other, two), false)
    mock.timers.tick(20 * hour)
    assert.equal(proofs.knows(app, one), false)
    assert.equal(proofs.knows(app, two), true)
    assert.equal(asked, 0)
    assert.deepEqual(log.lines, [])
  })

  it('are good after a restart while the registry is down, and asked for again when it is not', async () => {
    const first = await start()
    first.proofs.shown(app, one.digest)
    await first.end()
    mock.timers.tick(48 * hour)
    isDown = true
    const { proofs } = await start()
    // Of content that came before the repository was shown to the other process.
    assert.equal(proofs.openness({ ...app, at: -48 * hour }), 'stale')
    assert.equal(proofs.openness(app), 'unknown')
    assert.equal(await proofs.proves(app, one, { signal }), 'shown')
    assert.equal(await proofs.proves(app, two, { signal }), 'unknown')
    assert.equal(asked, 1)
    isDown = false
    mock.timers.tick(5 * second)
    assert.equal(await proofs.proves(app, one, { signal }), 'shown')
    assert.equal(proofs.publicAge(app), 0)
    assert.equal(asked, 2)
  })

  it('are written five seconds after the first change, and once for all changes until then', async () => {
    let kept = 0
    const proofs = createProofs()
    await keep({
      kept: (max) => {
        kept += 1
        assert.equal(max, 10_000)
        return proofs.kept(max)
      },
      restore: (rows) => proofs.restore(rows),
      onChange: (listener) => proofs.onChange(listener),
    })
    proofs.shown(app, one.digest)
    mock.timers.tick(3 * second)
    proofs.shown(app, two.digest)
    mock.timers.tick(2 * second - 1)
    await setImmediate()
    assert.equal(kept, 0)
    mock.timers.tick(1)
    while (!existsSync(path)) await setImmediate()
    assert.equal(kept, 1)
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), {
      version: 1,
      repositories: [
        {
          repository: 'docker.io/library/app',
          asOf: EPOCH + 3 * second,
          contents: { [two.digest]: EPOCH + 3 * second, [one.digest]: EPOCH },
        },
      ],
    })
    assert.deepEqual(await readdir(directory), ['proofs.json'])
  })

  it('are written at the end if something has changed since, and not afterwards', async () => {
    const { proofs, end } = await start()
    await end()
    assert.equal(existsSync(path), false)
    const second = await start()
    second.proofs.shown(app, one.digest)
    await second.end()
    assert.equal(existsSync(path), true)
    await rm(path)
    for (const each of [proofs, second.proofs]) each.shown(other, one.digest)
    mock.timers.tick(hour)
    for (let i = 0; i < 10; i += 1) await setImmediate()
    assert.equal(existsSync(path), false)
  })

  for (const refuse of ['forget', 'refused'] as const) {
    const toWhom = refuse === 'forget' ? 'a neighbour' : 'this node'
    it(`end with a refusal to ${toWhom}, in the file too`, async () => {
      const first = await start()
      first.proofs.shown(app, one.digest)
      first.proofs.shown(other, one.digest)
      await first.end()
      const second = await start()
      second.proofs[refuse](app)
      await second.end()
      const { proofs } = await start()
      assert.equal(proofs.openness({ ...app, at: -DAY }), 'unknown')
      assert.equal(proofs.publicAge(app), undefined)
      assert.equal(proofs.knows(app, one), false)
      assert.equal(proofs.knows(other, one), true)
    })
  }

  it('are those of repositories that registries showed, and not of contents of which holders spoke', async () => {
    const first = await start()
    first.proofs.heardOf(app, one.digest)
    first.proofs.heard(other)
    await first.end()
    const { proofs } = await start()
    assert.equal(proofs.knows(app, one), false)
    assert.equal(proofs.publicAge(other), 0)
  })

  it('are nowhere without --data-dir', async () => {
    const never = () => assert.fail('not expected')
    const end = await keepProofs(undefined, { kept: never, restore: never, onChange: never }, log)
    await end()
    assert.deepEqual(log.lines, [])
  })

  it('are as old as a day if the wall clock was set back: asked for again, and good until then', async () => {
    const first = await start()
    first.proofs.shown(app, one.digest)
    await first.end()
    mock.timers.setTime(EPOCH - 365 * DAY)
    const { proofs } = await start()
    assert.equal(proofs.publicAge(app), DAY)
    assert.equal(proofs.openness({ ...app, at: -DAY }), 'stale')
    assert.equal(proofs.knows(app, one), false)
    isDown = true
    assert.equal(await proofs.proves(app, one, { signal }), 'shown')
    assert.equal(asked, 1)
  })

  it('are those of the rows that are understood', async () => {
    const contents = { [one.digest]: EPOCH - hour }
    const good = { repository: 'docker.io/library/app', asOf: EPOCH - hour, contents }
    const expected = { repository: app, age: hour, contents: [{ digest: one.digest, age: hour }] }
    const broken = [
      undefined,
      null,
      7,
      [],
      {},
      { ...good, repository: 'library/../app' },
      { ...good, repository: 'Docker.io' },
      { ...good, asOf: 'yesterday' },
      { ...good, contents: { [one.digest]: 'yesterday' } },
    ]
    assert.deepEqual(await read(fileOf(...broken, good)), [expected])
    assert.deepEqual(await read(fileOf({ ...good, contents: { latest: EPOCH, 'sha256:x': EPOCH, ...contents } })), [
      expected,
    ])
    assert.deepEqual(await read(fileOf({ ...good, contents: undefined })), [{ ...expected, contents: [] }])
    assert.deepEqual(await read(fileOf()), [])
    assert.deepEqual(log.lines, [])
  })

  it('are no more than ten thousand', async () => {
    const rows = Array.from({ length: 10_001 }, (_, n) => ({ repository: `docker.io/library/${n}`, asOf: EPOCH }))
    assert.equal((await read(fileOf(...rows))).length, 10_000)
  })

  for (const [what, text] of [
    ['no JSON', '{"version":1,"repos'],
    ['empty', ''],
    ['of another version', '{"version":2,"repositories":[]}'],
    ['another document', '[]'],
  ] as const) {
    it(`are set aside with a warning if the file is ${what}, and written anew`, async () => {
      assert.deepEqual(await read(text), [])
      assert.deepEqual(await readdir(directory), ['proofs.json.broken'])
      assert.match(log.lines.join(), /^warn the record of registries' public answers is broken and was set aside/)
      const { proofs, end } = await start()
      proofs.shown(app, one.digest)
      await end()
      assert.equal((await start()).proofs.knows(app, one), true)
    })
  }

  it('are asked for again, with a warning, if the file cannot be read', async () => {
    await mkdir(path)
    const { proofs, end } = await start()
    assert.match(log.lines.join(), /^warn the record of registries' public answers cannot be read/)
    assert.equal(await proofs.proves(app, one, { signal }), 'shown')
    assert.equal(asked, 1)
    await end()
  })

  it('are lost with a warning, and nothing else is, if the file cannot be written', async () => {
    const proofs = createProofs()
    const { end } = await keep(proofs, join(directory, 'missing'))
    proofs.shown(app, one.digest)
    await end()
    assert.match(log.lines.join(), /^warn the record of registries' public answers could not be written/)
    assert.equal(proofs.knows(app, one), true)
  })
})
