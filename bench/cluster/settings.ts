import { parseArgs } from 'node:util'

import { second } from '../../src/time/units.ts'
import type { NamedImage } from './outcome.ts'

/** What the command line asks for. */
export interface ClusterPlan {
  readonly label: string
  readonly title: string
  /** Of the mirror; undefined if it was not told. */
  readonly mirrorVersion: string | undefined
  readonly out: string
  readonly images: readonly NamedImage[]
  readonly repeats: number
  readonly kubectlFlags: readonly string[]
  readonly namespace: string
  readonly nodeSelector: Readonly<Record<string, string>>
  readonly allNodes: boolean
  readonly pullPolicy: 'Always' | 'IfNotPresent'
  readonly dockerConfigFile: string | undefined
  readonly removeWith: string | undefined
  readonly timeoutMs: number
}

/** The command line is wrong; the message is for the user. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const USAGE = `Measures how long the nodes of a Kubernetes cluster take to pull images; see bench/cluster/README.md.

node bench/cluster/run.ts --label none [options] [name=]image…

  --label <id>             what the nodes use now: none (no mirror, what the others are compared with), nabo, …
  --title <words>          how the report calls it
  --mirror-version <text>  of the mirror, for the report: 0.9
  --out <directory>        where results.json is, or comes; other labels' results in it stay (.nabo/bench-cluster)
  --repeats <count>        (1)
  --context, --kubeconfig  of kubectl
  --namespace <name>       made, and deleted in the end (nabo-bench)
  --node-selector <k=v>    only these nodes; may be given more than once
  --all-nodes              nodes with taints as well
  --pull-policy <policy>   IfNotPresent or Always (IfNotPresent)
  --docker-config <file>   credentials, as docker login writes them
  --remove-images          removes the images from the nodes before each pull and in the end: with privileged pods
  --remove-with <image>    which have this image (docker.io/library/busybox:1)
  --timeout <seconds>      for one image on all nodes (900)

{label} and {repeat} in an image stand for what they say: registry.example.com/bench:{label}-{repeat}
`

const OPTIONS = {
  label: { type: 'string' },
  title: { type: 'string' },
  'mirror-version': { type: 'string' },
  out: { type: 'string', default: '.nabo/bench-cluster' },
  repeats: { type: 'string', default: '1' },
  context: { type: 'string' },
  kubeconfig: { type: 'string' },
  namespace: { type: 'string', default: 'nabo-bench' },
  'node-selector': { type: 'string', multiple: true, default: [] as string[] },
  'all-nodes': { type: 'boolean', default: false },
  'pull-policy': { type: 'string', default: 'IfNotPresent' },
  'docker-config': { type: 'string' },
  'remove-images': { type: 'boolean', default: false },
  'remove-with': { type: 'string', default: 'docker.io/library/busybox:1' },
  timeout: { type: 'string', default: '900' },
} as const

const TITLES: Readonly<Record<string, string>> = { none: 'No mirror', nabo: 'Nabo' }
/** Strict enough that no shell makes something else of it. */
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9._:/@{}-]{0,400}$/

/** Reads the command line. Throws UsageError. */
export function parseClusterPlan(args: readonly string[]): ClusterPlan {
  const { values, positionals } = read(args)
  const { label, context, kubeconfig } = values
  if (label === undefined || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(label))
    throw new UsageError('--label says what the nodes use: none, nabo, …')
  const policy = values['pull-policy']
  if (policy !== 'Always' && policy !== 'IfNotPresent') throw new UsageError('--pull-policy is IfNotPresent or Always')
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(values.namespace)) throw new UsageError('--namespace is no name')
  const mirrorVersion = values['mirror-version']
  if (mirrorVersion !== undefined && !/^.{1,80}$/.test(mirrorVersion))
    throw new UsageError('--mirror-version is a line of 1 to 80 characters')
  if (positionals.length === 0) throw new UsageError('no image is named')
  const images = positionals.map(parseImage)
  if (new Set(images.map(({ variant }) => variant)).size < images.length)
    throw new UsageError('two images have the same name')
  return {
    label,
    title: values.title ?? TITLES[label] ?? label,
    mirrorVersion,
    out: values.out,
    images,
    repeats: count('--repeats', values.repeats),
    kubectlFlags: [
      ...(context === undefined ? [] : ['--context', context]),
      ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
    ],
    namespace: values.namespace,
    nodeSelector: Object.fromEntries(values['node-selector'].map(parseSelector)),
    allNodes: values['all-nodes'],
    pullPolicy: policy,
    dockerConfigFile: values['docker-config'],
    removeWith: values['remove-images'] ? parseImage(values['remove-with']).reference : undefined,
    timeoutMs: count('--timeout', values.timeout) * second,
  }
}

/** The image of one repeat. */
export function imageAt(image: NamedImage, label: string, repeat: number): NamedImage {
  const reference = image.reference.replaceAll('{label}', label).replaceAll('{repeat}', String(repeat))
  return { variant: image.variant, reference }
}

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function parseImage(text: string): NamedImage {
  const [, name, reference = ''] = /^(?:([^=]{1,200})=)?(.*)$/.exec(text) ?? []
  if (!REFERENCE.test(reference)) throw new UsageError(`${text} is no image`)
  return { variant: name ?? reference, reference }
}

function parseSelector(text: string): [string, string] {
  const [, key, value = ''] = /^([A-Za-z0-9./_-]+)=([A-Za-z0-9._-]*)$/.exec(text) ?? []
  if (key === undefined) throw new UsageError(`${text} is no label of a node: key=value is expected`)
  return [key, value]
}

function count(flag: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 100_000) throw new UsageError(`${flag}: a number is expected`)
  return value
}
