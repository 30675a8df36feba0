import type { Contender, Machine, Results, Run } from '../compare/results.ts'
import type { ClusterPull } from './cluster.ts'
import { type ClusterNode, quantity } from './kubernetes.ts'

/** An image as the user names it; runs with the same variant are compared, whatever tag they pulled. */
export interface NamedImage {
  readonly variant: string
  readonly reference: string
}

const SCENARIO = {
  id: 'cluster',
  title: 'All nodes at once',
  description: 'A DaemonSet with the image is made; the times are those that the kubelets tell.',
}
const MAX_NOTES = 10

/** What one run adds to the results. */
export function runOf(contender: string, image: NamedImage, repeat: number, pull: ClusterPull): Run {
  return {
    scenario: SCENARIO.id,
    variant: image.variant,
    contender,
    repeat,
    // Kubelets do not say how many layers it has.
    images: [{ name: image.reference, bytes: pull.bytes ?? 0, layers: 0 }],
    nodes: [...pull.nodes],
    wallSeconds: pull.wallSeconds,
    ...(pull.failure === undefined ? {} : { failure: pull.failure }),
  }
}

export function emptyResults(nodes: readonly ClusterNode[], contender: Contender, notes: readonly string[]): Results {
  const now = new Date().toISOString()
  return {
    format: 'nabo-bench/1',
    startedAt: now,
    finishedAt: now,
    machine: machineOf(nodes),
    settings: { mode: 'cluster', nodes: nodes.length, repeats: 1, notes: notes.slice(0, MAX_NOTES) },
    contenders: [contender],
    scenarios: [SCENARIO],
    runs: [],
  }
}

/** What is there already was measured under other conditions; the message says which. */
export class ConditionsError extends Error {
  override readonly name = 'ConditionsError'
}

/**
 * Puts a contender's runs beside those of others: what is compared was measured one after the other, in the same cluster. Throws
 * {@link ConditionsError} if the number of nodes, their software, or the version of the same mirror has changed since.
 */
export function joined(before: Results | undefined, now: Results): Results {
  if (before === undefined) return now
  const different = differences(before, now)
  if (different.length > 0)
    throw new ConditionsError(`what is there already cannot be compared: ${different.join('; ')}; name another --out`)
  const contenders = new Map(before.contenders.map((each) => [each.id, each]))
  // A version that is not told this time is the one that was told before.
  for (const each of now.contenders) contenders.set(each.id, { ...contenders.get(each.id), ...each })
  const runs = [...before.runs, ...now.runs]
  return {
    ...now,
    startedAt: before.startedAt,
    settings: {
      ...now.settings,
      repeats: Math.max(1, ...runs.map(({ repeat }) => repeat + 1)),
      notes: [...new Set([...(before.settings.notes ?? []), ...(now.settings.notes ?? [])])].slice(-MAX_NOTES),
    },
    contenders: [...contenders.values()],
    runs,
  }
}

function differences(before: Results, now: Results): string[] {
  const conditions = [
    ['the number of nodes', before.settings.nodes, now.settings.nodes],
    ['the kubelet', before.machine.software['kubelet'], now.machine.software['kubelet']],
    ['the container runtime', before.machine.software['container-runtime'], now.machine.software['container-runtime']],
    ...now.contenders.flatMap(({ id, title, version }) => {
      const known = before.contenders.find((each) => each.id === id)?.version
      return known === undefined || version === undefined ? [] : [[`the version of ${title}`, known, version] as const]
    }),
  ] as const
  return conditions
    .filter(([, was, is]) => was !== is)
    .map(([what, was = 'unknown', is = 'unknown']) => `${what} was ${was} and is ${is}`)
}

/** The number of the next run of a variant by a contender: the same numbers of two contenders are a pair. */
export function nextRepeat(results: Results | undefined, contender: string, variant: string): number {
  const mine = results?.runs.filter((run) => run.contender === contender && run.variant === variant) ?? []
  return Math.max(0, ...mine.map(({ repeat }) => repeat + 1))
}

function machineOf(nodes: readonly ClusterNode[]): Machine {
  const [first] = nodes
  const sum = (name: string) => nodes.reduce((total, { status }) => total + quantity(status.capacity[name]), 0)
  const of = (what: 'architecture' | 'osImage' | 'kernelVersion' | 'kubeletVersion' | 'containerRuntimeVersion') =>
    [...new Set(nodes.map(({ status }) => status.nodeInfo[what]))].sort().join(', ').slice(0, 200)
  return {
    label: `a Kubernetes cluster, all ${nodes.length} nodes together`,
    cpu: first === undefined ? 'unknown' : of('architecture'),
    cores: Math.round(sum('cpu')),
    memoryBytes: Math.round(sum('memory')),
    os: of('osImage'),
    kernel: of('kernelVersion'),
    software: { kubelet: of('kubeletVersion'), 'container-runtime': of('containerRuntimeVersion') },
  }
}
