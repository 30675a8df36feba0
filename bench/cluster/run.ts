// How long the nodes of a Kubernetes cluster take to pull images: see README.md here.
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { errorCode } from '../../src/store/file-blob.ts'
import { errorText } from '../../src/telemetry/log.ts'
import { second } from '../../src/time/units.ts'
import { type Contender, readResults, type Run, writeResults } from '../compare/results.ts'
import { BenchCluster, type ClusterPull } from './cluster.ts'
import { Kubectl, KubectlError } from './kubectl.ts'
import { ConditionsError, emptyResults, joined, nextRepeat, runOf } from './outcome.ts'
import { type ClusterPlan, imageAt, parseClusterPlan, USAGE, UsageError } from './settings.ts'

const EXIT_USAGE = 64
const EXIT_DATA = 65
const EXIT_UNAVAILABLE = 69
const EXIT_INTERRUPTED = 130
const POLL_MS = 2 * second

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (!interrupt.signal.aborted) process.stderr.write('\nCleaning up…\n')
    interrupt.abort(new Error('interrupted'))
  })
}

try {
  if (process.argv.includes('--help')) process.stdout.write(USAGE)
  else await main(parseClusterPlan(process.argv.slice(2)))
} catch (error) {
  if (interrupt.signal.aborted) process.exitCode = EXIT_INTERRUPTED
  else if (error instanceof UsageError) fail(`${error.message}\n\n${USAGE}`, EXIT_USAGE)
  else if (error instanceof ConditionsError) fail(error.message, EXIT_DATA)
  else if (error instanceof KubectlError) fail(error.message, EXIT_UNAVAILABLE)
  else throw error
}

async function main(plan: ClusterPlan): Promise<void> {
  await mkdir(plan.out, { recursive: true })
  const path = join(plan.out, 'results.json')
  const before = await readResults(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  })
  const { dockerConfigFile } = plan
  await using cluster = await BenchCluster.create({
    ...plan,
    kubectl: new Kubectl({ flags: plan.kubectlFlags }),
    dockerConfig: dockerConfigFile === undefined ? undefined : await readFile(dockerConfigFile, 'utf8'),
    pollMs: POLL_MS,
    signal: interrupt.signal,
  })
  const notes = [`${plan.label}: pull policy ${plan.pullPolicy}`]
  const start = emptyResults(await cluster.nodes(), contenderOf(plan), notes)
  // Before anything is pulled for nothing.
  joined(before, start)
  const runs: Run[] = []
  for (let i = 0; i < plan.repeats; i += 1) {
    for (const each of plan.images) {
      const repeat = nextRepeat(before, plan.label, each.variant) + i
      const image = imageAt(each, plan.label, repeat)
      await cluster.removeImages([image.reference])
      const pull = await cluster.pull(image.reference)
      process.stdout.write(`${image.reference}: ${summary(pull)}\n`)
      runs.push(runOf(plan.label, image, repeat, pull))
      // Each time: whoever stops in the middle keeps what there is.
      await writeResults(path, joined(before, { ...start, finishedAt: new Date().toISOString(), runs }))
      await cluster.removeImages([image.reference])
    }
  }
  process.stdout.write(`wrote ${path}\n`)
  await report(plan.out, path)
}

function contenderOf({ label: id, title, mirrorVersion: version }: ClusterPlan): Contender {
  return { id, title, ...(version === undefined ? {} : { version }) }
}

/** What was measured is there already: a report that cannot be drawn is no failure. */
async function report(out: string, path: string): Promise<void> {
  try {
    const { writeReport } = await import('../compare/report/write-report.ts')
    await writeReport([await readResults(path)], out)
    process.stdout.write(`wrote ${join(out, 'report.html')}\n`)
  } catch (error) {
    process.stderr.write(`nabo: no report: ${errorText(error)}\n`)
  }
}

function summary({ nodes, wallSeconds, failure }: ClusterPull): string {
  const pulls = nodes.flatMap((node) => node.pulls)
  const times = pulls.flatMap(({ ok, seconds }) => (ok ? seconds : [])).sort((a, b) => a - b)
  const slowest = times.at(-1)?.toFixed(1) ?? '–'
  const typical = times[times.length >> 1]?.toFixed(1) ?? '–'
  const trouble = [...new Set(pulls.flatMap(({ error }) => error ?? [])), ...(failure === undefined ? [] : [failure])]
  const good = `${times.length} of ${pulls.length} pulls; median ${typical} s, slowest ${slowest} s, all in ${wallSeconds.toFixed(1)} s`
  return [good, ...trouble].join('; ')
}

function fail(message: string, code: number): void {
  process.stderr.write(`nabo: ${message}\n`)
  process.exitCode = code
}
