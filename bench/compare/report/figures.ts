import { baseline } from '../results.ts'
import type { Spread } from '../stats.ts'
import type { Cell } from './summary.ts'
import { killScenario } from '../stats.ts'
import { bytes, copies, counted, extremes, memory, number, percent, seconds, times } from './words.ts'

/** A column of the tables behind the charts, the same in Markdown and HTML; `show` gives nothing where nothing is known. */
export type Column = { title: string; show: (cell: Cell) => string | undefined }

const columns: Column[] = [
  { title: 'Pulls that worked', show: pullsThatWorked },
  {
    title: 'Until all have it, against no mirror',
    show: of(({ median }, cell) => times(median) + ratioShortfall(cell)),
  },
  { title: 'Its quartiles', show: of((spread) => extremes({ ...spread, min: spread.q1, max: spread.q3 })) },
  { title: 'Its extremes', show: of(extremes) },
  { title: 'Pairs', show: of(({ n }) => String(n)) },
  { title: 'Median pull, against no mirror', show: pullRatio },
  {
    title: '≈ Until all have it (median)',
    show: (cell) => cell.wall && seconds(cell.wall.median) + wallShortfall(cell),
  },
  { title: 'Pauses not counted', show: pauses },
  { title: '≈ Pull: median', show: (cell) => cell.seconds && seconds(cell.seconds.median) + shortfall(cell) },
  { title: '≈ Pull: p95', show: (cell) => cell.seconds && seconds(cell.seconds.p95) + shortfall(cell) },
  { title: '≈ Pull: max', show: (cell) => cell.seconds && seconds(cell.seconds.max) + shortfall(cell) },
  { title: 'Registry sent', show: ({ upstreamBytes }) => upstreamBytes && bytes(upstreamBytes.median) },
  { title: 'As copies', show: ({ copies }) => copies && number(copies.median) },
  { title: 'Quota used', show: ({ countedPulls }) => countedPulls && number(countedPulls.median) },
  { title: 'Manifest GETs', show: ({ manifestGets }) => manifestGets && number(manifestGets.median) },
  { title: 'Between nodes', show: ({ peerBytes }) => peerBytes && bytes(peerBytes.median) },
  { title: '≈ CPU of all mirrors', show: ({ cpuSeconds }) => cpuSeconds && seconds(cpuSeconds.median) },
  { title: '≈ Peak memory, all mirrors', show: ({ allRssBytes }) => allRssBytes && memory(allRssBytes.median) },
  { title: '≈ Peak memory, largest one', show: ({ peakRssBytes }) => peakRssBytes && memory(peakRssBytes.median) },
  { title: '≈ Machine busy', show: machineBusy },
  { title: 'Content', show: content },
]

/** The columns for which at least one of the cells has something to say. */
export function columnsFor(cells: readonly Cell[]): Column[] {
  return columns.filter(({ show }) => cells.some((cell) => show(cell) !== undefined))
}

/** What a contender came to in a scenario, in a few words. `tone` is for colour and never the only carrier. */
export type Verdict = { main: string; details: string[]; tone: 'good' | 'bad' | 'plain' }

export function verdict(cell: Cell, base: Cell | undefined, scenarioId: string): Verdict {
  const { contender, runs, broken, pulls, content, wallRatios } = cell
  const { spread, below } = wallRatios
  const isBaseline = contender.id === baseline
  if (runs === 0 && cell.unmeasured > 0 && contender.failure === undefined)
    return { main: 'not measured', details: ['the benchmark itself failed'], tone: 'plain' }
  if (contender.failure !== undefined || (runs > 0 && broken === runs)) {
    return { main: 'failed', details: ['see its log'], tone: 'bad' }
  }
  if (runs === 0) return { main: 'not run', details: [], tone: 'plain' }
  if (content.wrong > 0) return { main: 'wrong bytes', details: [`in ${counted(content.wrong, 'run')}`], tone: 'bad' }
  const pairs = spread === undefined || isBaseline ? [] : ofPairs(spread, below, cell.wallRatios.pairs)
  const remarks = [
    ...(broken > 0 ? [`broke down in ${broken} of ${counted(runs, 'run')}`] : []),
    ...struckNothing(cell),
    ...(cell.copies === undefined ? [] : [`registry: ${copies(cell.copies.median)}`]),
    ...(cell.unmeasured > 0 ? [`${counted(cell.unmeasured, 'run')} not measured`] : []),
    ...(cell.atLimit > 0 ? [`${busyMark} machine busy in ${cell.atLimit} of ${counted(runs, 'run')}`] : []),
  ]
  if (pulls.ok < pulls.all) {
    return { main: `${pulls.ok} of ${pulls.all} pulls`, details: [...pairs, ...remarks], tone: 'bad' }
  }
  if (isBaseline) {
    const reference = scenarioId === killScenario ? 'the reference, without a fault' : 'the reference'
    return { main: '1×', details: [reference, ...remarks], tone: 'plain' }
  }
  if (spread === undefined) {
    const why = cell.struckNothing === runs ? [] : [`no mirror: ${withoutMirror(base)}`]
    return { main: `all ${pulls.all} pulls`, details: [...why, ...remarks], tone: 'plain' }
  }
  // Different images once each show how images differ, and one or two repeats of one no more: no ground for a colour.
  const isShown = cell.wallRatios.pairs.every((repeats) => repeats >= leastRepeats)
  const tone = !isShown ? 'plain' : spread.q3 < 1 ? 'good' : spread.q1 > 1 ? 'bad' : 'plain'
  return { main: times(spread.median), details: [...pairs, ...remarks], tone }
}

/** Repeats of every image that a colour needs. */
const leastRepeats = 3

/** What a value is marked with when the machine was the limit. */
const busyMark = '▲'

function ofPairs(spread: Spread, below: number, pairs: readonly number[]): string[] {
  if (spread.n === 1) return ['one pair only']
  const repeats = pairs.filter((count) => count > 0)
  const [fewest, most] = [Math.min(...repeats), Math.max(...repeats)]
  const each = fewest === most ? counted(most, 'repeat') : `${fewest}–${most} repeats`
  return [
    `${extremes(spread)}, faster in ${below} of ${counted(spread.n, 'pair')}`,
    `over ${counted(repeats.length, 'image case')} × ${each}`,
  ]
}

function struckNothing({ struckNothing, runs }: Cell): string[] {
  if (struckNothing === 0) return []
  return [
    struckNothing === runs
      ? struckNothingWords
      : `${struckNothingWords} in ${struckNothing} of ${counted(runs, 'run')}`,
  ]
}

export const struckNothingWords = 'the kill struck nothing'

/** What the pulls of the baseline came to, where there is no ratio to it. */
export function withoutMirror(base: Cell | undefined): string {
  if (base !== undefined && base.runs > 0) return `${base.pulls.ok} of ${base.pulls.all}`
  return base !== undefined && base.unmeasured > 0 ? 'not measured' : 'not run'
}

/** A value of which some pulls or runs are missing says so: those that failed are not in it. */
export function shortfall({ pulls, runs, broken }: Cell): string {
  if (pulls.ok < pulls.all) return ` (${pulls.ok}/${pulls.all})`
  return broken > 0 ? ` (${runs - broken}/${runs})` : ''
}

/** The same of a time that a run only has when all its pulls worked. */
function wallShortfall({ wall, runs }: Cell): string {
  return wall !== undefined && wall.n < runs ? ` (${wall.n}/${runs})` : ''
}

/** The same of ratios, which a run may also lack because it has no other half. */
export function ratioShortfall({ wallRatios, runs }: Cell): string {
  return wallRatios.values.length < runs ? ` (${wallRatios.values.length}/${runs})` : ''
}

/** Whether a value of the cell says how many pulls or runs are in it. */
export function hasShortfall(cell: Cell): boolean {
  if (cell.seconds !== undefined && shortfall(cell) !== '') return true
  return wallShortfall(cell) !== '' || (cell.wallRatios.values.length > 0 && ratioShortfall(cell) !== '')
}

function pullsThatWorked({ pulls, runs, unmeasured }: Cell): string | undefined {
  if (runs === 0 && unmeasured > 0) return 'not measured'
  return pulls.all === 0 ? undefined : `${pulls.ok} of ${pulls.all}`
}

function pauses({ pausedSeconds }: Cell): string | undefined {
  return pausedSeconds === undefined || pausedSeconds.max === 0 ? undefined : seconds(pausedSeconds.median)
}

function machineBusy({ busy, atLimit }: Cell): string | undefined {
  return busy && percent(busy.median) + (atLimit > 0 ? ` ${busyMark}` : '')
}

/** Says something of the ratios of time until all have it; the baseline has none to itself. */
function of(say: (spread: Spread, cell: Cell) => string): Column['show'] {
  return (cell) => {
    const { spread, unpaired } = cell.wallRatios
    if (cell.contender.id === baseline) return undefined
    return spread === undefined ? (unpaired > 0 ? 'no pair' : undefined) : say(spread, cell)
  }
}

function pullRatio({ contender, pullRatios: { spread } }: Cell): string | undefined {
  return contender.id === baseline || spread === undefined ? undefined : `${times(spread.median)} (${extremes(spread)})`
}

function content({ runs, content, pulls }: Cell): string | undefined {
  if (runs === 0) return undefined
  if (content.wrong > 0) return `wrong in ${counted(content.wrong, 'run')}`
  if (pulls.ok === 0) return 'not checked: no pull worked'
  if (content.right === 0) return 'not checked'
  return `right (${content.pulls} of ${pulls.all} pulls)`
}
