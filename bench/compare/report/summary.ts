import { baseline } from '../results.ts'
import type { Contender, Results, Run, Scenario } from '../results.ts'
import {
  copiesFromUpstream,
  countedPulls,
  isComplete,
  killStruckNothing,
  medianPullSeconds,
  ratios,
  spread,
  upstreamBytes,
  wallSeconds,
} from '../stats.ts'
import type { Ratios, Spread } from '../stats.ts'
import { capital } from './words.ts'

/** What one contender did in some runs: one variant of a scenario, or all of the scenario's. */
export type Cell = {
  contender: Contender
  /** Runs that were measured. */
  runs: number
  /** Runs in which it broke down. */
  broken: number
  /** Runs that the benchmark itself spoilt: they are in no other figure, `runs` included. */
  unmeasured: number
  /** Runs with a kill that struck nothing: they have no ratio. */
  struckNothing: number
  pulls: { ok: number; all: number }
  /** Seconds of each node's pulls that worked. */
  seconds: Spread | undefined
  /** Seconds until all nodes had it, of complete runs. */
  wall: Spread | undefined
  copies: Spread | undefined
  upstreamBytes: Spread | undefined
  countedPulls: Spread | undefined
  manifestGets: Spread | undefined
  peerBytes: Spread | undefined
  /** CPU seconds of all its mirrors together, per run. */
  cpuSeconds: Spread | undefined
  /** The sum of its mirrors' peaks, per run: they need not have come at the same time. */
  allRssBytes: Spread | undefined
  /** The largest of its mirrors, per run. */
  peakRssBytes: Spread | undefined
  pausedSeconds: Spread | undefined
  /** Share of all cores' time that was used. */
  busy: Spread | undefined
  /** Runs whose limit was the machine. */
  atLimit: number
  content: Content
  wallRatios: Ratios
  pullRatios: Ratios
  upstreamRatios: Ratios
}

/** Runs by what the check of their contents came to; `pulls` worked and were found right. */
export type Content = { right: number; wrong: number; unchecked: number; pulls: number }

export type VariantSummary = { variant: string; cells: Cell[] }

/** What broke down in the same way, and where it did. */
export type Failure = { contender: Contender; message: string; places: string[]; log: string | undefined }

/** The runs whose transfers are drawn: one repeat of the scenario's largest variant, for each contender that completed it. */
export type Timeline = { variant: string; runs: { contender: Contender; run: Run }[] }

export type ScenarioSummary = {
  scenario: Scenario
  /** All variants together, of all contenders. */
  overall: Cell[]
  /** Each variant, of the contenders that ran in this scenario. */
  variants: VariantSummary[]
  timeline: Timeline | undefined
  /** All of its runs, those that were not measured included. */
  runs: Run[]
}

export type Summary = {
  results: Results
  /** Only what was run. */
  scenarios: ScenarioSummary[]
  failures: Failure[]
  /** Whether contenders took turns: else a slow hour of the machine may be what a ratio shows. */
  interleaved: boolean
}

/** Everything that the report shows, computed from the facts. The baseline is the first contender. */
export function summarize(given: Results): Summary {
  const results = {
    ...given,
    contenders: baselineFirst(given.contenders).map(titled),
    scenarios: given.scenarios.map(titled),
  }
  return {
    results,
    scenarios: results.scenarios
      .filter(({ id }) => results.runs.some(({ scenario }) => scenario === id))
      .map((scenario) => summarizeScenario(scenario, results)),
    failures: failures(results),
    interleaved: isInterleaved(results.runs),
  }
}

function titled<Titled extends { title: string }>(one: Titled): Titled {
  return { ...one, title: capital(one.title) }
}

function baselineFirst(contenders: readonly Contender[]): Contender[] {
  return [...contenders.filter(({ id }) => id === baseline), ...contenders.filter(({ id }) => id !== baseline)]
}

function summarizeScenario(scenario: Scenario, { runs, contenders }: Results): ScenarioSummary {
  const mine = runs.filter((run) => run.scenario === scenario.id)
  const variants = [...new Set(mine.map(({ variant }) => variant))]
  const present = contenders.filter(({ id }) => mine.some(({ contender }) => contender === id))
  return {
    scenario,
    overall: cells(contenders, mine),
    variants: variants.map((variant) => ({
      variant,
      cells: cells(
        present,
        mine.filter((run) => run.variant === variant),
      ),
    })),
    timeline: timeline(contenders, mine.filter(isMeasured)),
    runs: mine,
  }
}

function cells(contenders: readonly Contender[], runs: readonly Run[]): Cell[] {
  const base = runs.filter((run) => run.contender === baseline && isMeasured(run))
  return contenders.map((contender) =>
    cell(
      contender,
      runs.filter((run) => run.contender === contender.id),
      base,
    ),
  )
}

function isMeasured({ rigFailure }: Run): boolean {
  return rigFailure === undefined
}

/** Above this share of all cores' time, the machine is what a run waited for. */
const busyLimit = 0.9

function isAtLimit({ busy = 0 }: Run): boolean {
  return busy > busyLimit
}

function cell(contender: Contender, all: readonly Run[], base: readonly Run[]): Cell {
  const runs = all.filter(isMeasured)
  const whole = runs.filter(({ failure }) => failure === undefined)
  const pulls = runs.flatMap(countedPulls)
  const of = (measure: (run: Run) => number | undefined) => spread(whole.flatMap((run) => measure(run) ?? []))
  const ofMirrors = (measure: (mirrors: NonNullable<Run['mirrors']>) => number) =>
    of(({ mirrors = [] }) => (mirrors.length === 0 ? undefined : measure(mirrors)))
  return {
    contender,
    runs: runs.length,
    broken: runs.length - whole.length,
    unmeasured: all.length - runs.length,
    struckNothing: whole.filter(killStruckNothing).length,
    pulls: { ok: pulls.filter(({ ok }) => ok).length, all: pulls.length },
    seconds: spread(whole.flatMap((run) => countedPulls(run).flatMap(({ ok, seconds }) => (ok ? seconds : [])))),
    wall: of(wallSeconds),
    copies: of(copiesFromUpstream),
    upstreamBytes: of(({ upstream }) => upstream?.bytes),
    countedPulls: of(({ upstream }) => upstream?.countedPulls),
    manifestGets: of(({ upstream }) => upstream?.manifestGets),
    peerBytes: of(({ peerBytes }) => peerBytes),
    cpuSeconds: ofMirrors((mirrors) => mirrors.reduce((sum, mirror) => sum + mirror.cpuSeconds, 0)),
    allRssBytes: ofMirrors((mirrors) => mirrors.reduce((sum, mirror) => sum + mirror.peakRssBytes, 0)),
    peakRssBytes: ofMirrors((mirrors) => Math.max(...mirrors.map((mirror) => mirror.peakRssBytes))),
    pausedSeconds: of(({ pausedSeconds }) => pausedSeconds),
    busy: of(({ busy }) => busy),
    atLimit: whole.filter(isAtLimit).length,
    content: content(runs),
    wallRatios: ratios(runs, base, wallSeconds),
    pullRatios: ratios(runs, base, medianPullSeconds),
    upstreamRatios: ratios(runs, base, upstreamBytes),
  }
}

function content(runs: readonly Run[]): Content {
  const right = runs.filter(({ contentOk }) => contentOk === true)
  return {
    right: right.length,
    wrong: runs.filter(({ contentOk }) => contentOk === false).length,
    unchecked: runs.filter(({ contentOk }) => contentOk === undefined).length,
    pulls: right.flatMap(countedPulls).filter(({ ok }) => ok).length,
  }
}

function timeline(contenders: readonly Contender[], runs: readonly Run[]): Timeline | undefined {
  const recorded = runs.filter((run) => run.transfers !== undefined && run.transfers.length > 0)
  const largest = recorded.toSorted((a, b) => imageBytes(b) - imageBytes(a))[0]
  if (largest === undefined) return undefined
  const same = runs.filter(({ variant }) => variant === largest.variant)
  const shown = contenders.flatMap((contender) => {
    const own = same.filter((run) => run.contender === contender.id && run.failure === undefined)
    const run = own.find(isComplete) ?? own[0]
    return run === undefined ? [] : [{ contender, run }]
  })
  return { variant: largest.variant, runs: shown }
}

function imageBytes({ images }: Run): number {
  return images.reduce((sum, { bytes }) => sum + bytes, 0)
}

function failures({ contenders, runs, scenarios }: Results): Failure[] {
  const titles = new Map(scenarios.map(({ id, title }) => [id, title]))
  const found = new Map<string, Failure>()
  const note = (contender: Contender, message: string, place: string, log: string | undefined) => {
    const key = JSON.stringify([contender.id, message])
    const same = found.get(key) ?? { contender, message, places: [], log }
    same.places.push(place)
    found.set(key, same)
  }
  for (const contender of contenders) {
    if (contender.failure !== undefined) note(contender, contender.failure, 'It could not take part.', contender.log)
    for (const { contender: id, failure, log, ...run } of runs) {
      if (id !== contender.id || failure === undefined || run.rigFailure !== undefined) continue
      note(contender, failure, `${titles.get(run.scenario)}; ${run.variant}; repeat ${run.repeat + 1}`, log)
    }
  }
  return [...found.values()]
}

function isInterleaved(runs: readonly Run[]): boolean {
  const last = new Map<string, number>()
  return runs.every(({ scenario, variant, repeat }) => {
    const key = JSON.stringify([scenario, variant])
    const before = last.get(key) ?? 0
    last.set(key, Math.max(before, repeat))
    return repeat >= before
  })
}
