import { errorText } from '../../../src/telemetry/log.ts'
import { type Cluster, createCluster } from '../../../test/support/netns-cluster.ts'
import { type Contender, MirrorFailure } from '../contenders/contender.ts'
import { type Run, logTail } from '../results.ts'
import { type Cast, type Scenario, pullsUpdate } from '../scenarios/scenario.ts'
import { type Plan, bitsPerSecond } from '../settings.ts'
import { Stage } from './stage.ts'

export interface Performance {
  readonly scenario: Scenario
  readonly contender: Contender
  readonly cast: Cast
  readonly repeat: number
}

/** Beside what the slowest link needs when every node fetches everything through it. */
const PULL_GRACE_MS = 120_000
const SLACK = 4

/**
 * Plays one scenario with one contender: makes a network, a registry, nodes with empty content stores and the contender's mirrors, and takes
 * everything down in the end. What goes wrong stands in the runs, as the contender's failure or as the rig's, so that the next ones can go on.
 * When the signal comes it returns as soon as everything is down; what it returns then is no result.
 */
export async function perform(performance: Performance, plan: Plan, signal: AbortSignal): Promise<Run[]> {
  const { scenario, cast } = performance
  const runs: Run[] = []
  try {
    await using cluster = await createCluster({
      nodes: plan.nodes,
      hosts: ['cache'],
      ...(plan.rate === undefined ? {} : { rate: plan.rate }),
      ...(plan.registryRate === undefined ? {} : { hubRate: plan.registryRate }),
      hub: { ...scenario.hub, latencyMs: plan.latencyMs },
    })
    // A Ctrl-C from before the cluster was there: nobody else acts on it.
    signal.throwIfAborted()
    await unlessAborted(playOn(cluster, performance, plan, runs), signal)
  } catch (error) {
    const failure = failureOf(error)
    const missing = scenario.variants(cast).slice(runs.length)
    const last = runs.at(-1)
    // All was played, and what could not be taken down may have been disturbing it.
    if (missing.length === 0 && last !== undefined) runs.splice(-1, 1, { ...last, ...failure })
    runs.push(...missing.map((variant) => brokenRun(performance, variant, failure)))
  }
  return runs
}

/** Adds each run as soon as all are over, or one broke. */
async function playOn(
  cluster: Cluster,
  { scenario, contender, cast, repeat }: Performance,
  plan: Plan,
  runs: Run[],
): Promise<void> {
  const updates = pullsUpdate(scenario, cast.update.heldBytes > 0) ? [cast.update] : []
  for (const { repository, tag, image } of [cast.first, ...updates, ...cast.others]) {
    await cluster.hub.publish(repository, tag, image)
  }
  const [host] = cluster.hosts
  if (host === undefined) throw new Error('there is no host beside the nodes')
  const site = { cluster, nodes: cluster.nodes, host }
  await Promise.all(site.nodes.map((node) => node.startContainerd({ cri: contender.cri === true })))
  const pullTimeoutMs = timeoutOf(plan, cast)
  const mirror = await contender.start(site)
  const stage = new Stage(site, mirror, {
    scenario: scenario.id,
    contender,
    repeat,
    unpack: plan.unpack,
    pullTimeoutMs,
  })
  try {
    await scenario.play(stage, cast)
  } finally {
    runs.push(...stage.runs)
  }
}

/** Rejects when the signal comes: what still waits for something of a network that is going down is left to itself. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Whose fault it was: only a contender's own is called a failure of it. */
function failureOf(error: unknown): Pick<Run, 'failure' | 'rigFailure' | 'log'> {
  // Of a command that failed it has what that wrote, on lines of its own.
  if (!(error instanceof MirrorFailure)) {
    return {
      rigFailure: errorText(error)
        .trim()
        .replaceAll(/\s*\n\s*/g, '; ')
        .slice(0, 2000),
    }
  }
  return { failure: error.message.slice(0, 2000), log: logTail(error.log) }
}

/** One that did not come about. */
function brokenRun(
  { scenario, contender, repeat }: Performance,
  variant: string,
  failure: Pick<Run, 'failure' | 'rigFailure' | 'log'>,
): Run {
  const named = { scenario: scenario.id, variant, contender: contender.id, repeat }
  return { ...named, images: [], nodes: [], wallSeconds: 0, ...failure }
}

function timeoutOf({ nodes, rate, registryRate }: Plan, { first }: Cast): number {
  const slowest = Math.min(bitsPerSecond(rate) ?? Infinity, bitsPerSecond(registryRate) ?? Infinity)
  return Math.ceil(PULL_GRACE_MS + SLACK * ((8 * first.bytes * nodes) / slowest) * 1000)
}
