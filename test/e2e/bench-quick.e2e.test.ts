import assert from 'node:assert/strict'
import { globSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { type Run, readResults } from '../../bench/compare/results.ts'
import { Child } from '../support/child.ts'
import { findTool } from '../support/debian-tool.ts'
import { execute } from '../support/netns/commands.ts'
import { clusterUnavailable } from '../support/netns-cluster.ts'
import { eventually } from '../support/poll.ts'

const main = join(import.meta.dirname, '../../bench/compare/run.ts')
const tinyMirror = join(import.meta.dirname, '../support/tiny-mirror.ts')
const registry = await findTool('docker-registry')
const lacking = 'skip' in registry ? registry.skip : undefined
// CI has it, or is broken: a contender must not drop out there unseen.
const skip = (await clusterUnavailable()) ?? (process.env['CI'] === undefined ? (lacking ?? false) : false)

/** As whoever has the binary of another mirror would describe it. */
const THIRD = {
  id: 'tiny',
  title: 'a mirror that the benchmark does not know',
  place: 'each-node',
  command: [process.execPath, tinyMirror, '5050', '{contentPath}', '{peers}'],
  readyUrl: 'http://{ip}:5050/v2/',
  mirrorUrl: 'http://127.0.0.1:5050',
}
const BROKEN = {
  ...THIRD,
  id: 'broken',
  title: 'a mirror that cannot start',
  command: ['/bin/sh', '-c', 'echo I cannot; exit 3'],
}

describe('the benchmark', { skip }, () => {
  let directory: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-bench-'))
    await writeFile(join(directory, 'third.json'), JSON.stringify(THIRD))
    await writeFile(join(directory, 'broken.json'), JSON.stringify(BROKEN))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  function bench(...args: readonly string[]): Child {
    return new Child(process.execPath, [main, '--quick', '--nodes', '2', ...args])
  }

  it('measures right pulls with every contender, and writes a report that names them all', async (t) => {
    const out = join(directory, 'quick')
    const contenders = ['none', 'pull-through', 'nabo', join(directory, 'third.json')].join(',')
    // Time is not the question here.
    const links = ['--rate', '2gbit', '--registry-rate', '1gbit', '--latency', '5']
    const child = bench(...links, '--contenders', contenders, '--out', out)
    const { code } = await child.exited
    t.diagnostic(child.lines.join('\n'))
    assert.equal(code, 0)

    const { runs, machine, contenders: entries } = await readResults(join(out, 'results.json'))
    const ids = ['none', 'pull-through', 'nabo', 'tiny']
    assert.deepEqual(
      entries.map(({ id }) => id),
      ids,
    )
    assert.ok(machine.cores > 0 && machine.software['containerd'] !== undefined)
    for (const id of ids) {
      const own = runs.filter(({ contender }) => contender === id)
      assert.deepEqual(own.map(({ scenario, variant }) => `${scenario} ${variant}`).toSorted(), [
        'a 10 MB, 4 layers, first version',
        'a 10 MB, 4 layers, update',
        'b 10 MB, 4 layers, first version',
        'b 10 MB, 4 layers, update',
        'e 10 MB, 4 layers, first version',
      ])
      for (const run of own.filter(({ scenario }) => scenario !== 'e')) assertGood(run)
      for (const { contentOk, failure, rigFailure } of own) {
        assert.notEqual(contentOk, false)
        assert.deepEqual([failure, rigFailure], [undefined, undefined])
      }
    }
    const first = (id: string) => runOf(runs, id, 'a', 'first version')
    const bytes = first('none').images[0]?.bytes ?? 0
    assert.equal(first('none').upstream?.bytes, 2 * bytes, 'both nodes fetch all of it from the registry')
    assert.deepEqual(first('none').mirrors, [])
    for (const id of ['pull-through', 'nabo', 'tiny']) {
      const { upstream, peerBytes, mirrors = [] } = first(id)
      // The cache stores by a fetch of its own, beside the one that it passes on.
      const most = id === 'pull-through' ? 2 * bytes : bytes
      assert.ok((upstream?.bytes ?? Infinity) <= most, `${id} asks the registry for nothing that is there`)
      assert.ok((peerBytes ?? 0) >= bytes)
      assert.ok(mirrors.length > 0 && mirrors.every(({ peakRssBytes }) => peakRssBytes > 0))
    }
    assertGood(runOf(runs, 'nabo', 'e', 'first version'))

    for (const name of ['results.md', 'report.html']) {
      const text = await readFile(join(out, name), 'utf8')
      for (const { title } of entries) assert.ok(text.toLowerCase().includes(title.toLowerCase()), `${name}: ${title}`)
    }
  })

  it('loses a mirror, and meets a quota, and Nabo still brings right bytes', async (t) => {
    const out = join(directory, 'faults')
    const child = bench('--scenarios', 'f,g', '--contenders', 'nabo', '--out', out)
    const { code } = await child.exited
    t.diagnostic(child.lines.join('\n'))
    assert.equal(code, 0)
    const { runs } = await readResults(join(out, 'results.json'))
    assert.deepEqual(
      runs.map(({ scenario }) => scenario),
      ['f', 'g'],
    )
    for (const run of runs) assertGood(run)
    assert.ok(runs[0]?.nodes.some(({ role }) => role === 'killed'))
  })

  it('shows a contender that cannot start as failed, and says so by its exit code', async () => {
    const out = join(directory, 'broken')
    const child = bench('--scenarios', 'b', '--contenders', join(directory, 'broken.json'), '--out', out)
    const { code } = await child.exited
    assert.equal(code, 1, child.lines.join('\n'))
    const { runs } = await readResults(join(out, 'results.json'))
    assert.equal(runs.length, 2)
    for (const { failure, rigFailure, log } of runs) {
      assert.match(failure ?? '', /did not become ready/)
      assert.match(log ?? '', /I cannot/)
      assert.equal(rigFailure, undefined)
    }
    assert.match(await readFile(join(out, 'results.md'), 'utf8'), /a mirror that cannot start/i)
  })

  it('leaves nothing behind when it is interrupted in a pull, however impatiently, but a report', async () => {
    const out = join(directory, 'interrupted')
    // The broken one has no pulls, and so is over when Nabo begins the one that is interrupted.
    const contenders = `${join(directory, 'broken.json')},nabo`
    const child = bench('--scenarios', 'c', '--contenders', contenders, '--registry-rate', '4mbit', '--out', out)
    const prefix = `nabo-net-${child.pid}-`
    await eventually('Nabo passes on what a pull asks for', () => ingests(prefix), { timeoutMs: 120_000 })
    child.signal('SIGTERM')
    await eventually('it takes its network down', () => child.lines.includes('Cleaning up…'))
    child.signal('SIGINT')
    child.signal('SIGINT')
    const { code, signal } = await child.exited
    assert.deepEqual([code, signal], [143, null], child.lines.join('\n'))
    assert.ok(child.lines.filter((line) => line === 'still cleaning up…').length <= 1)

    const { stdout } = await execute('ip', ['netns', 'list'])
    assert.ok(!stdout.includes(prefix), stdout)
    const temporary = readdirSync(tmpdir()).filter((name) => name.startsWith(prefix))
    assert.deepEqual(temporary, [])
    assert.deepEqual(processesOf(prefix), [])
    const { runs } = await readResults(join(out, 'results.json'))
    assert.deepEqual(
      runs.map(({ contender }) => contender),
      ['broken'],
    )
    assert.match(await readFile(join(out, 'report.html'), 'utf8'), /a mirror that cannot start/i)
  })
})

/** Whether something is on its way into a content store of this benchmark's nodes. */
function ingests(prefix: string): boolean {
  const pattern = `${prefix}*/n*/**/io.containerd.content.v1.content/ingest/*/data`
  return globSync(pattern, { cwd: tmpdir() }).some((path) => statSync(join(tmpdir(), path)).size > 0)
}

/** Processes that were started with a path of this network's, or work there. */
function processesOf(prefix: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return `${readFileSync(`/proc/${pid}/cmdline`, 'utf8')} ${readlinkSync(`/proc/${pid}/cwd`)}`.includes(prefix)
    } catch {
      // It has ended.
      return false
    }
  })
}

function runOf(runs: readonly Run[], contender: string, scenario: string, variant: string): Run {
  const [run, ...others] = runs.filter(
    (each) => each.contender === contender && each.scenario === scenario && each.variant.endsWith(variant),
  )
  assert.ok(run !== undefined && others.length === 0, `${contender} has one run of ${scenario}`)
  return run
}

function assertGood({ contender, nodes, contentOk, failure }: Run): void {
  assert.equal(failure, undefined)
  assert.equal(contentOk, true, contender)
  const pulls = nodes.flatMap((node) => (node.role === undefined ? node.pulls : []))
  assert.ok(pulls.length > 0)
  for (const { ok, error } of pulls) assert.ok(ok, `${contender}: ${error}`)
}
