import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { reportCharts } from '../../bench/compare/report/charts/report-charts.ts'
import { verdict } from '../../bench/compare/report/figures.ts'
import { markdownReport } from '../../bench/compare/report/markdown.ts'
import { mergeResults } from '../../bench/compare/report/merge.ts'
import { pngRenderer } from '../../bench/compare/report/png.ts'
import { summarize } from '../../bench/compare/report/summary.ts'
import { writeReport } from '../../bench/compare/report/write-report.ts'
import type { Results } from '../../bench/compare/results.ts'
import { baseline, parseResults, readResults, writeResults } from '../../bench/compare/results.ts'
import { sampleResults, withoutRigFigures } from './support/sample-results.ts'

const golden = fileURLToPath(new URL('./golden/results-md.txt', import.meta.url))
const command = fileURLToPath(new URL('../../bench/compare/report.ts', import.meta.url))

let folder = ''
let page = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nabo-report-'))
  await writeReport([sampleResults()], join(folder, 'sample'))
  page = await readFile(join(folder, 'sample', 'report.html'), 'utf8')
})
after(() => rm(folder, { recursive: true }))

describe('the page', () => {
  it('needs nothing from anywhere else', () => {
    assert.doesNotMatch(page, /<script|<link|<iframe|<img|@import|url\(|\bsrc=/u)
    const targets = [...page.matchAll(/\bhref="([^"]*)"/gu)].map(([, target]) => target ?? '')
    assert.ok(targets.length > 0)
    for (const target of targets) {
      assert.match(target, /^#/u)
      assert.ok(page.includes(`id="${target.slice(1)}"`), `${target} leads nowhere`)
    }
  })

  it('has a title and a description for every chart, and no id twice', () => {
    const ids = [...page.matchAll(/\bid="([^"]*)"/gu)].map(([, id]) => id)
    assert.equal(new Set(ids).size, ids.length)
    const charts = [
      ...page.matchAll(/<svg [^>]*>\s*<title id="([^"]*)-title">[^<]+<\/title>\s*<desc id="\1-desc">[^<]+<\/desc>/gu),
    ]
    assert.equal(charts.length, page.split('<svg ').length - 1)
  })

  it('has light and dark colours, and none outside the theme', () => {
    assert.match(page, /prefers-color-scheme:\s*dark/u)
    const plain = [...page.matchAll(/(?:fill|stroke)="(?!var\(--|none)([^"]*)"/gu)].map(([, color]) => color)
    assert.deepEqual([...new Set(plain)], [])
  })

  it('has a table with the figures behind the charts of every scenario', () => {
    for (const { title } of sampleResults().scenarios)
      assert.ok(page.includes(`aria-label="All figures: ${title}"`), title)
  })

  it('shows a contender that failed, with its log, as text', () => {
    assert.ok(page.includes('Other mirror &lt;b&gt;'))
    assert.doesNotMatch(page, /<b>\s*<\/|Other mirror <b>/u)
    assert.ok(page.includes('not ready after 30 s'))
    assert.ok(page.includes('&lt;refused&gt; &amp; given up'))
  })

  it('gives no ratio where the pulls without a mirror failed', () => {
    const down = summarize(sampleResults()).scenarios.find(({ scenario }) => scenario.id === 'e')
    assert.ok(down !== undefined)
    for (const { wallRatios } of down.overall) assert.equal(wallRatios.spread, undefined)
    assert.ok(page.includes('no mirror: 0 of 15'))
  })
})

describe('the report', () => {
  it('is the same to the byte for the same results, whatever was drawn before, and of its own results.json', async () => {
    await writeReport([await readResults(join(folder, 'sample', 'results.json'))], join(folder, 'again'))
    const files = await readdir(join(folder, 'sample'), { recursive: true, withFileTypes: true })
    const names = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name))
    assert.ok(names.length > 40)
    for (const name of names) {
      const same = name.replace(join(folder, 'sample'), join(folder, 'again'))
      assert.ok((await readFile(name)).equals(await readFile(same)), name)
    }
  })

  it('has the tables that it had', async () => {
    const markdown = markdownReport([summarize(sampleResults())])
    // After a wanted change: NABO_WRITE_GOLDEN=1 node --test test/bench/report.test.ts
    if (process.env['NABO_WRITE_GOLDEN'] === '1') await writeFile(golden, markdown)
    assert.equal(markdown, await readFile(golden, 'utf8'))
  })

  it('does without what only the rig knows', () => {
    const runs = sampleResults().runs.map(withoutRigFigures)
    const summary = summarize(sampleResults({ runs }))
    const charts = reportCharts(summary, '')
    assert.deepEqual(
      charts.overview.map(({ id }) => id),
      ['overview-time'],
    )
    assert.deepEqual(
      charts.scenarios.get('b')?.figures.map(({ id }) => id),
      ['b-pulls', 'b-ratio'],
    )
    assert.doesNotMatch(markdownReport([summary]), /Registry sent|CPU of all/u)
  })

  it('is written even when nothing was run', async () => {
    await writeReport([sampleResults({ runs: [] })], join(folder, 'empty'))
    const empty = await readFile(join(folder, 'empty', 'report.html'), 'utf8')
    assert.ok(empty.includes('not ready after 30 s'))
  })

  it('warns when contenders did not take turns', () => {
    const { runs } = sampleResults()
    const blocks = runs.toSorted((a, b) => (a.contender < b.contender ? -1 : a.contender > b.contender ? 1 : 0))
    assert.equal(summarize(sampleResults()).interleaved, true)
    assert.equal(summarize(sampleResults({ runs: blocks })).interleaved, false)
  })

  it('names a breakdown that came again and again once', () => {
    const runs = sampleResults().runs.map((run) =>
      run.contender === 'nabo' ? { ...run, failure: 'crashed', log: 'why' } : run,
    )
    const { failures } = summarize(sampleResults({ runs }))
    const crash = failures.find(({ message }) => message === 'crashed')
    assert.equal(crash?.places.length, runs.filter(({ contender }) => contender === 'nabo').length)
  })
})

describe('what is no finding', () => {
  const markdownOf = (runs: Results['runs']) => markdownReport([summarize(sampleResults({ runs }))])
  const cellOf = (scenario: string, contender: string, runs = sampleResults().runs) => {
    const cells = summarize(sampleResults({ runs })).scenarios.find((one) => one.scenario.id === scenario)?.overall
    const find = (id: string) => cells?.find((cell) => cell.contender.id === id)
    const cell = find(contender)
    assert.ok(cell !== undefined)
    return { cell, said: verdict(cell, find(baseline), scenario) }
  }

  it('has no colour: ratios of fewer than three repeats of an image, however many images there are', () => {
    const once = sampleResults().runs.filter(({ repeat }) => repeat === 0)
    assert.equal(cellOf('b', 'nabo').said.tone, 'good')
    const { cell, said } = cellOf('b', 'nabo', once)
    assert.equal(cell.wallRatios.values.length, 4)
    assert.equal(said.tone, 'plain')
    assert.ok(said.details.some((detail) => detail.includes('faster in 4 of 4 pairs')))
    assert.ok(said.details.includes('over 4 image cases × 1 repeat'))
  })

  it('is a failure of the benchmark itself: it is in no figure and no contender’s', () => {
    const runs = sampleResults().runs.map((run) =>
      run.scenario === 'b' && run.contender === 'nabo'
        ? { ...run, rigFailure: 'no space left', failure: 'killed' }
        : run,
    )
    const { cell, said } = cellOf('b', 'nabo', runs)
    assert.deepEqual([cell.runs, cell.broken, cell.pulls.all, cell.wall, cell.copies], [0, 0, 0, undefined, undefined])
    assert.deepEqual([said.main, said.tone], ['not measured', 'plain'])
    assert.match(markdownOf(runs), /not measured: the benchmark itself failed: no space left/u)
    assert.doesNotMatch(markdownOf(runs), /\*\*Nabo\*\*: killed/u)
  })

  it('is a kill that struck nothing, and the report says what was struck', () => {
    assert.equal(cellOf('f', 'nabo').cell.wallRatios.values.length, 2)
    assert.ok(cellOf('f', 'nabo').said.details.includes('the kill struck nothing in 1 of 3 runs'))
    assert.ok(page.includes('n1 after 0.8 s, when it had sent 12 MB; '))
    assert.ok(page.includes('there is no mirror to kill'))
  })

  it('is what a busy machine shows', () => {
    assert.ok(page.includes('97 % ▲'))
    assert.ok(page.includes('The machine was the limit'))
    const idle = sampleResults().runs.map((run) => ({ ...run, busy: 0.9 }))
    assert.doesNotMatch(markdownOf(idle), /▲|The machine was the limit/u)
  })

  it('is content that nobody could check', () => {
    assert.match(markdownOf(sampleResults().runs), /\| not checked: no pull worked \|/u)
    assert.match(markdownOf(sampleResults().runs), /\| right \(9 of 18 pulls\) \|/u)
  })

  it('is explained only where it is to be seen', () => {
    const whole = sampleResults().runs.filter(({ scenario }) => scenario === 'a')
    assert.match(markdownOf(sampleResults().runs), / s \(9\/18\) \|[\s\S]*\(9\/18\) behind a value/u)
    assert.doesNotMatch(markdownOf(whole), /\(9\/18\)/u)
  })
})

describe('timelines', () => {
  const drawn = (id: string, runs: Results['runs']) => {
    const charts = reportCharts(summarize(sampleResults({ runs })), '').scenarios
    const found = [...charts.values()].flatMap(({ timeline }) => timeline).find((chart) => chart.id === id)
    assert.ok(found !== undefined)
    return found
  }

  it('say how much of their axis is pauses, and when a mirror was killed', () => {
    assert.match(drawn('a-timeline-nabo', sampleResults().runs).body, /including 2\.5 s of pauses/u)
    assert.doesNotMatch(drawn('a-timeline-none', sampleResults().runs).body, /pauses/u)
    assert.match(drawn('f-timeline-nabo', sampleResults().runs).body, /n1 was killed after 0\.8 s/u)
  })

  it('say so when only the registry told what was sent', () => {
    const quiet = sampleResults().runs.map((run) => ({
      ...run,
      transfers: (run.transfers ?? []).filter(({ source }) => source === 'upstream'),
    }))
    assert.match(drawn('b-timeline-nabo', quiet).body, /does not tell who sent what/u)
    assert.doesNotMatch(drawn('b-timeline-none', quiet).body, /does not tell/u)
  })
})

describe('ideal times', () => {
  it('stand beside the figures, except where the speed of the links is not known or the registry is down', () => {
    const { settings } = sampleResults()
    const { registryBitsPerSecond: _, ...unknown } = settings
    const known = markdownReport([summarize(sampleResults())])
    assert.match(known, /- 100 MB, 4 layers, update: one copy 2 s, 6 copies 12 s/u)
    assert.equal(known.split('**Ideal times').length - 1, sampleResults().scenarios.length - 1)
    const other = markdownReport([summarize(sampleResults({ settings: unknown }))])
    assert.doesNotMatch(other, /Ideal times|What follows from them/u)
  })
})

describe('several results', () => {
  const only = (ids: string[], wish: Partial<Results> = {}) =>
    sampleResults({ runs: sampleResults().runs.filter(({ scenario }) => ids.includes(scenario)), ...wish })

  it('of the same machine and links become one, and pairs stay within a file', () => {
    const [merged, ...others] = mergeResults([only(['a']), only(['a', 'b'])])
    assert.ok(merged !== undefined)
    assert.equal(others.length, 0)
    assert.equal(parseResults(merged).runs.length, only(['a']).runs.length * 2 + only(['b']).runs.length)
    const one = summarize(merged).scenarios[0]?.overall.find(({ contender }) => contender.id === 'nabo')
    assert.equal(one?.wallRatios.unpaired, 0)
    assert.equal(one.wallRatios.values.length, one.runs)
  })

  it('of other machines or versions stay apart', async () => {
    const { machine, contenders } = sampleResults()
    const elsewhere = only(['b'], { machine: { ...machine, cpu: 'another' } })
    const newer = only(['b'], {
      contenders: contenders.map((one) => (one.id === 'nabo' ? { ...one, version: '9' } : one)),
    })
    assert.equal(mergeResults([only(['b']), elsewhere, newer]).length, 3)
    await writeReport([only(['b']), elsewhere], join(folder, 'apart'))
    const apart = await readFile(join(folder, 'apart', 'report.html'), 'utf8')
    assert.ok(apart.includes('Results 2 of 2'))
    const ids = [...apart.matchAll(/\bid="([^"]*)"/gu)].map(([, id]) => id)
    assert.equal(new Set(ids).size, ids.length)
    assert.equal((await readResults(join(folder, 'apart', 'results-2.json'))).machine.cpu, 'another')
  })

  it('are taken as directories and files by the command', async () => {
    await mkdir(join(folder, 'one'))
    await writeResults(join(folder, 'one', 'results.json'), only(['a']))
    await writeResults(join(folder, 'two.json'), only(['e']))
    const out = join(folder, 'both')
    const flags = process.execArgv.filter((flag) => !flag.startsWith('--test'))
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...flags,
      command,
      '--out',
      out,
      join(folder, 'one'),
      join(folder, 'two.json'),
    ])
    assert.match(stdout, /report\.html: \d+ charts/u)
    assert.equal((await readResults(join(out, 'results.json'))).runs.length, only(['a', 'e']).runs.length)
  })
})

describe('PNG charts', () => {
  it('have letters, also on a machine without fonts', async (context) => {
    const render = await pngRenderer()
    if (typeof render !== 'function') return context.skip(render.missing)
    const chart = reportCharts(summarize(sampleResults()), '').overview[0]
    assert.ok(chart !== undefined)
    const [png, other] = [render(chart), render({ ...chart, body: chart.body.replaceAll('Pull-through', 'Somewhere') })]
    assert.deepEqual([...png.subarray(1, 4)], [...Buffer.from('PNG')])
    assert.equal(Buffer.from(png).readUInt32BE(16), chart.width * 2)
    assert.ok(!Buffer.from(png).equals(other), 'no text is drawn')
  })
})
