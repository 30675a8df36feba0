import type { Pull, Run } from './results.ts'

/** How values lie. Quantiles are interpolated between the two nearest values (type 7, as in R and NumPy). */
export type Spread = { n: number; min: number; q1: number; median: number; q3: number; p95: number; max: number }

/** One contender's ratios to the baseline. */
export type Ratios = {
  /** Contender over baseline, one a pair, smallest first: below 1 means less time, or fewer bytes. */
  values: number[]
  /** How many pairs each variant has, in the order of the runs; 0 where none could be formed. */
  pairs: number[]
  /** Absent when there was no pair. */
  spread: Spread | undefined
  /** How many of them are below 1. */
  below: number
  /** Runs that could not be compared, since they or their other half failed or do not exist, or a kill struck nothing. */
  unpaired: number
}

/** The quantile `q` (0 to 1) of values sorted from small to large; `NaN` when there are none. */
export function quantile(sorted: readonly number[], q: number): number {
  const position = (sorted.length - 1) * q
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? Number.NaN
  return below + (above - below) * (position - Math.floor(position))
}

/** How values lie, or nothing for none. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined
  const sorted = values.toSorted((a, b) => a - b)
  const at = (q: number) => quantile(sorted, q)
  return { n: sorted.length, min: at(0), q1: at(0.25), median: at(0.5), q3: at(0.75), p95: at(0.95), max: at(1) }
}

/** The median, or nothing for no values. */
export function median(values: readonly number[]): number | undefined {
  return spread(values)?.median
}

/** The scenario in which a mirror is killed on purpose. */
export const killScenario = 'f'

/** Less than this is no share in a pull: a request or two, and the layer came from elsewhere. */
const leastStruckBytes = 64 * 1024

/** Whether a kill was due and met nothing: it was not made, or the mirror had hardly sent anything. Such a run says nothing of kills. */
export function killStruckNothing({ scenario, killed, mirrors }: Run): boolean {
  if (killed !== undefined) return killed.sentBytes < leastStruckBytes
  return scenario === killScenario && mirrors !== undefined && mirrors.length > 0
}

/** Bytes that a node of the run lacked. */
export function lackingBytes({ images }: Run): number {
  return images.reduce((sum, { bytes, heldBytes }) => sum + bytes - (heldBytes ?? 0), 0)
}

/** The pulls that count: not those of nodes that had the image before, nor of the one that was killed on purpose. */
export function countedPulls(run: Run): Pull[] {
  return run.nodes.filter(({ role }) => role === undefined).flatMap(({ pulls }) => pulls)
}

/** Whether every pull that counts worked and gave the right bytes: only such runs have a time that means something. */
export function isComplete(run: Run): boolean {
  const pulls = countedPulls(run)
  if (run.failure !== undefined || run.rigFailure !== undefined) return false
  return run.contentOk !== false && pulls.length > 0 && pulls.every(({ ok }) => ok)
}

/** Seconds until all nodes had it, of a complete run. */
export function wallSeconds(run: Run): number | undefined {
  return isComplete(run) ? run.wallSeconds : undefined
}

/** The median of the nodes' pull seconds, of a complete run. */
export function medianPullSeconds(run: Run): number | undefined {
  return isComplete(run) ? median(countedPulls(run).map(({ seconds }) => seconds)) : undefined
}

/** Bytes that the registry sent, of a complete run. */
export function upstreamBytes(run: Run): number | undefined {
  return isComplete(run) ? run.upstream?.bytes : undefined
}

/**
 * How often the registry sent what the run's nodes lacked: 1 is the least while nobody has it. Also of runs that are not complete, since
 * bytes for a pull that fails are bytes too.
 */
export function copiesFromUpstream(run: Run): number | undefined {
  const lacking = lackingBytes(run)
  const broken = run.failure !== undefined || run.rigFailure !== undefined
  if (run.upstream === undefined || broken || lacking <= 0) return undefined
  return run.upstream.bytes / lacking
}

/**
 * Ratios of a contender's runs to the baseline's, pair by pair: same scenario, variant and repeat. Noise that lasts longer than one pair falls
 * out of the ratio, which is why runs are interleaved.
 */
export function ratios(runs: readonly Run[], base: readonly Run[], measure: (run: Run) => number | undefined): Ratios {
  const bases = new Map(base.map((run) => [pairKey(run), measure(run)]))
  const values: number[] = []
  const pairs = new Map<string, number>()
  for (const run of runs) {
    const before = pairs.get(run.variant) ?? 0
    const [mine, theirs] = [killStruckNothing(run) ? undefined : measure(run), bases.get(pairKey(run))]
    const isPair = mine !== undefined && theirs !== undefined && theirs > 0
    if (isPair) values.push(mine / theirs)
    pairs.set(run.variant, before + (isPair ? 1 : 0))
  }
  return {
    values: values.toSorted((a, b) => a - b),
    pairs: [...pairs.values()],
    spread: spread(values),
    below: values.filter((value) => value < 1).length,
    unpaired: runs.length - values.length,
  }
}

function pairKey({ scenario, variant, repeat }: Run): string {
  return JSON.stringify([scenario, variant, repeat])
}
