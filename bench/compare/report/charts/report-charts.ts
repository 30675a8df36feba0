import { baseline } from '../../results.ts'
import type { Run } from '../../results.ts'
import { lackingBytes } from '../../stats.ts'
import type { Cell, ScenarioSummary, Summary, Timeline } from '../summary.ts'
import { ratioShortfall, shortfall, struckNothingWords, withoutMirror } from '../figures.ts'
import { copies, counted, extremes, seconds, tick, times } from '../words.ts'
import { linearScale, logScale } from './scale.ts'
import type { Look } from './theme.ts'
import { looks } from './theme.ts'
import type { Chart } from './drawing.ts'
import type { Row } from './rows-chart.ts'
import { rowsChart } from './rows-chart.ts'
import { timelineChart } from './timeline-chart.ts'

/** The charts of one set of results, in the order in which the page shows them. */
export type ReportCharts = { overview: Chart[]; scenarios: Map<string, { figures: Chart[]; timeline: Chart[] }> }

type Group = { label: string; cells: Cell[] }
type Looks = Map<string, Look>

/** Draws everything; `prefix` keeps names apart when a report has several sets of results. */
export function reportCharts(summary: Summary, prefix: string): ReportCharts {
  const look = looks(summary.results.contenders.map(({ id }) => id))
  const groups = summary.scenarios.map(({ scenario, overall }) => ({ label: scenario.title, cells: overall }))
  return {
    overview: [
      ratioChart(
        `${prefix}overview-time`,
        'Time until all nodes have it',
        groups,
        look,
        '× time without a mirror; left is faster; spread over images too',
      ),
      ...copiesChart(`${prefix}overview-registry`, 'What the registry sent', groups, look),
    ].flat(),
    scenarios: new Map(summary.scenarios.map((one) => [one.scenario.id, scenarioCharts(one, look, prefix)])),
  }
}

function scenarioCharts({ scenario, variants, timeline }: ScenarioSummary, look: Looks, prefix: string) {
  const id = `${prefix}${scenario.id}`
  const groups = variants.map(({ variant, cells }) => ({ label: variant, cells }))
  return {
    figures: [
      ...pullsChart(`${id}-pulls`, groups, look),
      ...ratioChart(
        `${id}-ratio`,
        'Until all nodes have it',
        groups,
        look,
        'times what it takes without a mirror; left of 1 is faster',
      ),
      ...copiesChart(`${id}-registry`, 'What the registry sent', groups, look),
    ],
    timeline: timeline === undefined ? [] : timelineCharts(`${id}-timeline`, timeline),
  }
}

function rows(groups: Group[], look: Looks, show: (cell: Cell, look: Look) => Row): Row[] {
  return groups.flatMap(({ label, cells }) => [
    { kind: 'head' as const, label },
    ...cells.map((cell) => show(cell, look.get(cell.contender.id) ?? { color: 'gray', mark: 'square' })),
  ])
}

/** Words for where there is no value to draw: a contender that broke down, or whose pulls did not all work. */
function absent(cell: Cell, look: Look, otherwise: string): Row {
  const label = cell.contender.title
  if (cell.contender.failure !== undefined || (cell.runs > 0 && cell.broken === cell.runs)) {
    return { kind: 'words', label, look, text: 'failed: see its log', color: 'bad' }
  }
  if (cell.runs === 0 && cell.unmeasured > 0) return { kind: 'words', label, look, text: 'not measured', color: 'soft' }
  if (cell.runs === 0) return { kind: 'words', label, look, text: 'not run', color: 'soft' }
  if (cell.content.wrong > 0) return { kind: 'words', label, look, text: 'wrong bytes', color: 'bad' }
  const { ok, all } = cell.pulls
  if (ok < all)
    return { kind: 'words', label, look, text: `${ok} of ${all} pulls worked`, color: ok === 0 ? 'bad' : 'ink' }
  return { kind: 'words', label, look, text: otherwise, color: 'soft' }
}

function pullsChart(id: string, groups: Group[], look: Looks): Chart[] {
  const spreads = groups.flatMap(({ cells }) => cells.flatMap(({ seconds }) => seconds ?? []))
  if (spreads.length === 0) return []
  const show = (cell: Cell, look: Look): Row => {
    if (cell.seconds === undefined) return absent(cell, look, 'no time')
    return {
      kind: 'range',
      label: cell.contender.title,
      look,
      spread: cell.seconds,
      strokes: [cell.seconds.p95],
      text: seconds(cell.seconds.median) + shortfall(cell),
    }
  }
  const chart = rowsChart({
    id,
    title: 'How long a pull took',
    subtitle: '≈ median, quartiles, 95th percentile, extremes; log scale',
    description: describe(
      groups,
      ({ seconds: spread }) => spread && `median ${seconds(spread.median)}, at most ${seconds(spread.max)}`,
    ),
    rows: rows(groups, look, show),
    scale: logScale(spreads.flatMap(({ min, max }) => [min, max])),
    formatTick: tick,
  })
  return [chart]
}

function ratioChart(id: string, title: string, groups: Group[], look: Looks, subtitle: string): Chart[] {
  const values = groups.flatMap(({ cells }) => cells.flatMap(({ wallRatios }) => wallRatios.values))
  if (values.length === 0 || groups.every(({ cells }) => cells.every(({ contender }) => contender.id === baseline)))
    return []
  const bases = new Map(
    groups.flatMap(({ cells }) => {
      const base = cells.find(({ contender }) => contender.id === baseline)
      return cells.map((cell) => [cell, base] as const)
    }),
  )
  const show = (cell: Cell, look: Look): Row => {
    const { spread, values } = cell.wallRatios
    if (spread === undefined) {
      const isUnstruck = cell.runs > 0 && cell.struckNothing === cell.runs
      const why = isUnstruck ? struckNothingWords : `no mirror: ${withoutMirror(bases.get(cell))}`
      return absent(cell, look, `all ${cell.pulls.all} pulls worked; ${why}`)
    }
    return {
      kind: 'range',
      label: cell.contender.title,
      look,
      spread,
      strokes: values.length <= 30 ? values : [],
      text: times(spread.median) + ratioShortfall(cell),
    }
  }
  const chart = rowsChart({
    id,
    title,
    subtitle,
    description: describe(groups, (cell) => {
      const { spread } = cell.wallRatios
      return spread && `median ${times(spread.median)}, between ${extremes(spread)} in ${counted(spread.n, 'pair')}`
    }),
    rows: rows(groups, look, show),
    scale: logScale([...values, 0.5, 2]),
    formatTick: String,
    reference: 1,
  })
  return [chart]
}

function copiesChart(id: string, title: string, groups: Group[], look: Looks): Chart[] {
  const values = groups.flatMap(({ cells }) => cells.flatMap(({ copies }) => copies?.median ?? []))
  if (values.length === 0) return []
  const show = (cell: Cell, look: Look): Row => {
    if (cell.copies === undefined) return absent(cell, look, 'not known')
    const { median } = cell.copies
    return { kind: 'bar', label: cell.contender.title, look, value: median, text: `${Number(median.toFixed(2))}` }
  }
  const chart = rowsChart({
    id,
    title,
    subtitle: 'copies of what the nodes lacked (median); less is better',
    description: describe(groups, ({ copies: spread }) => spread && copies(spread.median)),
    rows: rows(groups, look, show),
    scale: linearScale([...values, 1]),
    formatTick: String,
    reference: 1,
  })
  return [chart]
}

/** Each on a time axis of its own: who got what from whom can't be seen any more on the axis of one that takes ten times as long. */
function timelineCharts(id: string, { variant, runs }: Timeline): Chart[] {
  return runs.map(({ contender, run }) => {
    const ends = run.nodes.flatMap(({ pulls }) => pulls.map(({ at, seconds }) => at + seconds))
    const last = Math.max(0, ...ends)
    const end = `the last pull ended after ${seconds(last)}`
    const remarks = timelineRemarks(run, last)
    const said = [end, ...remarks].join('; ')
    return timelineChart({
      id: `${id}-${contender.id}`,
      title: `${contender.title}: who got what from whom`,
      subtitle: [`${variant}; ${end}`, ...remarks],
      description: `${counted(run.nodes.length, 'node')}, ${counted(run.transfers?.length ?? 0, 'transfer')}; ${said}. A table lists them.`,
      run,
      scale: linearScale(ends),
    })
  })
}

/** What a reader would otherwise take for what it is not, a line each. */
function timelineRemarks(run: Run, end: number): string[] {
  const { pausedSeconds = 0, wallSeconds, killed, peerBytes = 0, transfers = [] } = run
  // A pause after the last pull is not on the axis.
  const paused = Math.min(pausedSeconds, Math.max(0, end - wallSeconds))
  const tellsSenders = transfers.some(({ source }) => source === 'peer' || source === 'mirror')
  // Less than this is what mirrors say to each other, and no layers.
  const talk = 0.1 * lackingBytes(run)
  return [
    paused > 0 ? `including ${seconds(paused)} of pauses, which are not counted` : [],
    killed === undefined ? [] : `dashed: the mirror on ${killed.node} was killed after ${seconds(killed.at)}`,
    tellsSenders || peerBytes <= talk
      ? []
      : ['this contender does not tell who sent what;', 'shown is what the registry saw'],
  ].flat()
}

/** The figures in sentences, for who cannot see the chart. */
function describe(groups: Group[], say: (cell: Cell) => string | undefined): string {
  const sentences = groups.map(({ label, cells }) => {
    const said = cells.map((cell) => `${cell.contender.title} ${say(cell) ?? 'no value'}`)
    return `${label}: ${said.join('; ')}.`
  })
  return sentences.join(' ')
}
