// Pull times side by side: see bench/README.md.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { constants } from 'node:os'
import { join } from 'node:path'

import { clusterUnavailable } from '../../test/support/netns-cluster.ts'
import { type Listener, RigFailure, playAll } from './campaign.ts'
import { type Chosen, chooseContenders } from './contenders/choose.ts'
import { NoContenderError } from './contenders/contender.ts'
import { estimateSeconds, takesOf } from './estimate.ts'
import { describeMachine, revision } from './measure/machine.ts'
import { withNotPlayed } from './not-played.ts'
import { complaintsOf } from './outcome.ts'
import { mergeResults } from './report/merge.ts'
import { type Results, type Run, readResults, writeResults } from './results.ts'
import { perform } from './rig/perform.ts'
import { SCENARIOS } from './scenarios/all.ts'
import { type Plan, USAGE, UsageError, parsePlan, settingsOf } from './settings.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 64
const EXIT_UNAVAILABLE = 77
/** What a shell says of a process that a signal ended. */
const EXIT_SIGNALLED = 128

const interrupt = new AbortController()
let interruptedBy: NodeJS.Signals | undefined
let wasRepeated = false
// To the very end: the cluster takes itself down on the same signals, and an impatient second one must not break that, or the report.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
// A terminal that is closed takes no more words, which is no reason to leave anything behind.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await main()
} catch (error) {
  if (error instanceof UsageError) {
    complain(`${error.message}\n\n${USAGE.trimEnd()}`)
    process.exitCode = EXIT_USAGE
  } else if (error instanceof NoContenderError) {
    complain(error.message)
    process.exitCode = EXIT_USAGE
  } else if (!interrupt.signal.aborted) {
    complain(error instanceof RigFailure ? error.message : describe(error))
    process.exitCode = EXIT_FAILED
  }
}
if (interruptedBy !== undefined) {
  // Something may still wait for an answer out of the network that is gone.
  process.exit(EXIT_SIGNALLED + constants.signals[interruptedBy])
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) return say(USAGE.trimEnd())
  const plan = parsePlan(process.argv.slice(2))
  const takes = takesOf(plan, SCENARIOS)
  const minutes = Math.ceil(estimateSeconds(plan, takes) / 60)
  const runs = takes.length * plan.repeats * plan.contenders.length
  say(`${runs} runs on ${plan.nodes} nodes; ${minutes} min if all contenders are as slow as no mirror`)
  if (plan.estimateOnly) return
  const unavailable = await clusterUnavailable()
  if (unavailable !== undefined) {
    complain(`the benchmark cannot run here: ${unavailable}`)
    process.exitCode = EXIT_UNAVAILABLE
    return
  }
  const workshop = await mkdtemp(join(tmpdir(), 'nabo-bench-'))
  try {
    await measure(plan, await chooseContenders(plan.contenders, workshop))
  } finally {
    await rm(workshop, { recursive: true, force: true })
  }
}

async function measure(plan: Plan, chosen: Chosen): Promise<void> {
  await mkdir(plan.out, { recursive: true })
  const path = join(plan.out, 'results.json')
  const empty = await emptyResults(plan, chosen)
  const earlier = plan.merge ? [await readResults(path)] : []
  if (mergeResults([...earlier, empty]).length > 1) {
    throw new UsageError(`${path} was made on another machine, with other links or versions: take another --out`)
  }
  const runs: Run[] = []
  const save = async () => {
    const settings = { ...empty.settings, notes: withNotPlayed(empty.settings.notes ?? [], runs) }
    const results = { ...empty, settings, finishedAt: new Date().toISOString(), runs }
    const [merged = results] = mergeResults([...earlier, results])
    await writeResults(path, merged)
    return merged
  }
  const listener: Listener = {
    beginning: (words, done, all) => say(`[${done + 1}/${all}] ${words}`),
    again: (why) => say(`    the benchmark itself failed, and tries again: ${why.slice(0, 200)}`),
    // Saved each time: whoever stops in the middle keeps what there is.
    ended: async (ended) => {
      runs.push(...ended)
      for (const run of ended) say(`    ${summary(run)}`)
      await save()
    },
  }
  const earlierRepeats = Math.max(0, ...earlier.flatMap((each) => each.runs.map(({ repeat }) => repeat + 1)))
  const campaign = { plan, scenarios: SCENARIOS, contenders: chosen.contenders, earlierRepeats, perform }
  let isWhole = false
  try {
    await playAll(campaign, listener, interrupt.signal)
    isWhole = true
  } finally {
    // Also when it was stopped, of what there is.
    if (isWhole || runs.length > 0) await report(await save(), plan.out)
  }
  const complaints = complaintsOf(chosen.entries, runs)
  for (const words of complaints) complain(words)
  if (complaints.length > 0) process.exitCode = EXIT_FAILED
}

async function report(results: Results, directory: string): Promise<void> {
  // Not before: while it is measured nothing else is to take memory.
  const { writeReport } = await import('./report/write-report.ts')
  const { pngMissing } = await writeReport([results], directory)
  const words = [
    ...(pngMissing === undefined ? [] : [`no PNG charts: ${pngMissing}`]),
    `wrote results.json, results.md and report.html to ${directory}`,
  ]
  process.stdout.write(`${words.join('\n')}\n`)
}

async function emptyResults(plan: Plan, { entries }: Chosen): Promise<Results> {
  const now = new Date().toISOString()
  const commit = await revision()
  return {
    format: 'nabo-bench/1',
    startedAt: now,
    finishedAt: now,
    ...(commit === undefined ? {} : { revision: commit }),
    machine: await describeMachine(),
    settings: settingsOf(plan),
    contenders: [...entries],
    scenarios: SCENARIOS.filter(({ id }) => plan.scenarios.includes(id)).map(({ id, title, description }) => ({
      id,
      title,
      description,
    })),
    runs: [],
  }
}

function summary({ variant, nodes, wallSeconds, upstream, peerBytes, contentOk, failure, rigFailure }: Run): string {
  const pulls = nodes.flatMap((node) => node.pulls)
  const good = pulls.filter(({ ok }) => ok).length
  const mb = (bytes = 0) => `${(bytes / 1e6).toFixed(1)} MB`
  const parts = [
    `${variant}: ${good} of ${pulls.length} pulls in ${wallSeconds.toFixed(1)} s`,
    `registry ${mb(upstream?.bytes)} and ${upstream?.countedPulls ?? 0} manifests`,
    `inside ${mb(peerBytes)}`,
    ...(contentOk === false ? ['WRONG CONTENT'] : []),
    ...(failure === undefined ? [] : [`FAILED: ${failure.slice(0, 200)}`]),
    ...(rigFailure === undefined ? [] : [`THE BENCHMARK ITSELF FAILED: ${rigFailure.slice(0, 200)}`]),
  ]
  return parts.join('; ')
}

function onSignal(signal: NodeJS.Signals): void {
  if (interruptedBy === undefined) {
    interruptedBy = signal
    interrupt.abort()
    process.stderr.write('\nCleaning up…\n')
  } else if (!wasRepeated) {
    wasRepeated = true
    process.stderr.write('still cleaning up…\n')
  }
}

function say(text: string): void {
  if (!interrupt.signal.aborted) process.stdout.write(`${text}\n`)
}

function complain(text: string): void {
  process.stderr.write(`nabo: ${text}\n`)
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
