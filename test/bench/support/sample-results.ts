import { parseResults } from '../../../bench/compare/results.ts'
import type { Image, Results, Run, RunNode, Transfer } from '../../../bench/compare/results.ts'

// Results as they could be, from a crude model of links and not from a measurement: four contenders, of which one never became ready, in all
// scenarios. The same call gives the same bytes.

const MB = 1_000_000
const nodeBytesPerSecond = 125 * MB
const registryBytesPerSecond = 25 * MB
const nodeCount = 6
const repeats = 3
/** After each node, or each few, until the others know. */
const pauseSeconds = 0.5

type Random = () => number
type Contender = 'none' | 'pull-through' | 'nabo'
/** One run of these was spoilt by the benchmark itself. */
const spoilt = { scenario: 'd', variant: '10 MB, 1 layer', contender: 'pull-through', repeat: 2 }
type Plan = { scenario: string; variant: string; image: Image; seeds: string[]; killed?: string }

/** Made-up results of a full run; `wish` changes parts of them. */
export function sampleResults(wish: Partial<Results> = {}): Results {
  const random = randomFrom(7)
  const runs = plans().flatMap((plan) =>
    Array.from({ length: repeats }, (_, repeat) =>
      (['none', 'pull-through', 'nabo'] as const).map((contender) => run(plan, contender, repeat, random)),
    ).flat(),
  )
  return parseResults({
    format: 'nabo-bench/1',
    startedAt: '2026-11-20T09:00:00Z',
    finishedAt: '2026-11-20T10:12:40Z',
    revision: '887eb0c',
    machine: {
      label: 'a small virtual machine',
      cpu: 'AMD EPYC 7B13',
      cores: 2,
      memoryBytes: 8 * 1024 ** 3,
      os: 'Debian GNU/Linux 13 (trixie)',
      kernel: '6.12.48',
      fileSystem: 'ext4 on /dev/vda1',
      loadAtStart: 0.12,
      software: { node: '26.10.0', containerd: '1.7.24', 'docker-registry': '2.8.3' },
    },
    settings: {
      mode: 'full',
      nodes: nodeCount,
      repeats,
      nodeBitsPerSecond: nodeBytesPerSecond * 8,
      registryBitsPerSecond: registryBytesPerSecond * 8,
      registryLatencyMs: 40,
      notes: ['Content stores are empty before each run.', 'Pulls fetch content and do not unpack.'],
    },
    contenders: [
      { id: 'none', title: 'No mirror', description: 'containerd asks the registry itself.' },
      { id: 'pull-through', title: 'Pull-through cache', version: '2.8.3', description: 'docker-registry as a proxy.' },
      { id: 'nabo', title: 'Nabo', version: '0.1.0', description: 'One daemon for each node.' },
      {
        id: 'other',
        title: 'Other mirror <b>',
        version: '1.2.3',
        failure: 'not ready after 30 s: GET http://10.0.0.1:5000/readyz answered 503',
        log: '{"level":"info","msg":"starting"}\n{"level":"error","msg":"dial unix /run/containerd/containerd.sock: <refused> & given up"}\n',
      },
    ],
    scenarios: scenarios(),
    runs,
    ...wish,
  })
}

/** A run without what only the rig knows, as a real cluster gives it. */
export function withoutRigFigures({ scenario, variant, contender, repeat, images, nodes, wallSeconds }: Run): Run {
  return { scenario, variant, contender, repeat, images, nodes, wallSeconds }
}

function scenarios() {
  return [
    { id: 'a', title: 'One node after another', description: 'Each node starts when the one before it has the image.' },
    { id: 'b', title: 'All nodes at once, nobody has it', description: 'The first minute of a new release.' },
    { id: 'c', title: 'All but one at once, one has it', description: 'An image that is known to one node.' },
    {
      id: 'd',
      title: 'Rolling update, 20 % at a time',
      description: 'The next nodes start when the ones before are done.',
    },
    { id: 'e', title: 'Registry down', description: 'One node has the image, the registry does not answer.' },
    { id: 'f', title: 'A mirror is killed midway', description: 'A mirror is killed while the others pull.' },
    { id: 'g', title: 'Quota of 10 pulls', description: 'The nodes pull more than the registry allows.' },
  ]
}

function plans(): Plan[] {
  const image = (name: string, bytes: number, layers: number, heldBytes?: number): Image => ({
    name,
    bytes,
    layers,
    ...(heldBytes === undefined ? {} : { heldBytes }),
  })
  const variants: [string, Image][] = [
    ['10 MB, 1 layer', image('bench/small:1', 10 * MB, 1)],
    ['100 MB, 4 layers', image('bench/medium:1', 100 * MB, 4)],
    ['100 MB, 4 layers, update', image('bench/medium:2', 100 * MB, 4, 50 * MB)],
    ['1 GB, 4 layers', image('bench/large:1', 1000 * MB, 4)],
  ]
  const all = ['a', 'b', 'c', 'd'].flatMap((scenario) =>
    variants.map(([variant, image]) => ({ scenario, variant, image, seeds: scenario === 'c' ? ['n1'] : [] })),
  )
  const medium = image('bench/medium:1', 100 * MB, 4)
  return [
    ...all,
    { scenario: 'e', variant: '100 MB, 4 layers', image: medium, seeds: ['n1'] },
    { scenario: 'f', variant: '100 MB, 4 layers', image: medium, seeds: ['n1', 'n2'], killed: 'n1' },
    { scenario: 'g', variant: 'three images: 10 MB, 1 layer', image: image('bench/small:1', 10 * MB, 1), seeds: [] },
  ]
}

function run(plan: Plan, contender: Contender, repeat: number, random: Random): Run {
  const { scenario, variant, image } = plan
  const lacking = image.bytes - (image.heldBytes ?? 0)
  const names = Array.from({ length: nodeCount }, (_, index) => `n${index + 1}`)
  const pulling = names.filter((name) => !plan.seeds.includes(name))
  const width = scenario === 'a' ? 1 : scenario === 'd' ? 2 : pulling.length
  const transfers: Transfer[] = []
  const nodes: RunNode[] = plan.seeds.map((name) => ({ name, role: 'seed', pulls: [] }))
  let clock = 0
  let done = 0
  let paused = 0
  for (let first = 0; first < pulling.length; first += width) {
    const wave = pulling.slice(first, first + width)
    const ends = wave.map((name, index) => {
      const known = plan.seeds.length > 0 || done > 0
      const took = secondsOf(contender, lacking, wave.length, known) * (1 + 0.02 * index) * (0.92 + 0.16 * random())
      const ok = pullWorks(scenario, contender, index)
      const pull = {
        image: image.name,
        at: round(clock),
        seconds: round(ok ? took : 0.4),
        ok,
      }
      nodes.push({ name, pulls: [pull.ok ? pull : { ...pull, error: errorOf(scenario, name) }] })
      if (ok)
        transfers.push(
          ...transfersOf({
            contender,
            name,
            index,
            clock,
            took,
            image,
            known,
            seed: plan.seeds[0] ?? 'n1',
            alone: width === 1,
          }),
        )
      return clock + (ok ? took : 0.4)
    })
    const pause = width < pulling.length && contender === 'nabo' ? pauseSeconds : 0
    clock = Math.max(...ends) + pause
    paused += pause
    done += wave.length
  }
  const bytesFrom = (source: string) =>
    transfers.filter((one) => one.source === source).reduce((sum, { bytes }) => sum + bytes, 0)
  const fromCache = contender === 'pull-through' ? (scenario === 'e' ? 0 : lacking) : 0
  return {
    scenario,
    variant,
    contender,
    repeat,
    images: [image],
    nodes,
    wallSeconds: round(clock - paused),
    pausedSeconds: round(paused),
    upstream: {
      bytes: bytesFrom('upstream') + fromCache,
      countedPulls: contender === 'none' ? pulling.length : 1,
      manifestGets: contender === 'none' ? pulling.length : 1,
    },
    peerBytes: bytesFrom('peer') + bytesFrom('mirror'),
    ...(contender === 'none' ? {} : { mirrors: mirrors(contender, names, lacking, random) }),
    transfers,
    ...remarksOn(plan, contender, repeat),
    ...(nodes.some(({ pulls }) => pulls.some(({ ok }) => ok)) ? { contentOk: true } : {}),
  }
}

function pullWorks(scenario: string, contender: Contender, index: number): boolean {
  if (scenario === 'e') return contender === 'nabo'
  return scenario !== 'g' || contender !== 'none' || index < 3
}

function errorOf(scenario: string, node: string): string {
  const port = 40_000 + Number(node.slice(1))
  return scenario === 'e'
    ? `dial tcp 10.9.0.1:443: read 10.9.0.2:${port}: connect: connection refused`
    : '429 Too Many Requests: toomanyrequests'
}

/** What only some runs have: a kill (in the last repeat too early to strike anything), a busy machine, a failure of the rig. */
function remarksOn({ scenario, variant, killed }: Plan, contender: Contender, repeat: number): Partial<Run> {
  const sentBytes = repeat === repeats - 1 ? 512 : 12 * MB
  const isKilled = killed !== undefined && contender !== 'none'
  const isSpoilt = JSON.stringify({ scenario, variant, contender, repeat }) === JSON.stringify(spoilt)
  return {
    busy: contender === 'nabo' && scenario === 'b' && variant.startsWith('1 GB') ? 0.97 : 0.4,
    ...(isKilled ? { killed: { node: contender === 'nabo' ? killed : 'cache', at: 0.8, sentBytes } } : {}),
    ...(isSpoilt ? { rigFailure: 'a namespace could not be made: file exists' } : {}),
  }
}

function secondsOf(contender: Contender, bytes: number, nodes: number, known: boolean): number {
  const registry = bytes / registryBytesPerSecond
  if (contender === 'none') return 0.2 + registry * nodes
  if (contender === 'pull-through') return 0.25 + Math.max(known ? 0 : registry, (bytes * nodes) / nodeBytesPerSecond)
  return 0.3 + Math.max(known ? 0 : registry, bytes / nodeBytesPerSecond) * 1.08
}

type Receiver = {
  contender: Contender
  name: string
  index: number
  clock: number
  took: number
  image: Image
  known: boolean
  seed: string
  /** Nobody else of its wave to get anything from. */
  alone: boolean
}

function transfersOf({ contender, name, index, clock, took, image, known, seed, alone }: Receiver): Transfer[] {
  const layers = image.heldBytes === undefined ? image.layers : image.layers / 2
  const bytes = Math.round((image.bytes - (image.heldBytes ?? 0)) / layers)
  return Array.from({ length: layers }, (_, layer) => {
    const digest = `sha256:${`${layer}`.repeat(64)}`
    const span = {
      at: round(clock + 0.1 + 0.02 * layer),
      seconds: round((took - 0.15) * (0.9 + 0.03 * layer)),
      node: name,
      digest,
      bytes,
    }
    if (contender === 'none') return { ...span, source: 'upstream' as const, from: 'registry' }
    if (contender === 'pull-through') return { ...span, source: 'mirror' as const, from: 'cache' }
    if (!known && (alone || index === layer % 2)) return { ...span, source: 'upstream' as const, from: 'registry' }
    const from = known && index === 0 ? seed : `n${Math.max(1, index - layer > 0 ? index - layer : index)}`
    return { ...span, source: 'peer' as const, from: from === name ? 'n2' : from }
  })
}

function mirrors(contender: Contender, names: string[], bytes: number, random: Random) {
  const at = contender === 'nabo' ? names : ['cache']
  return at.map((node) => ({
    node,
    cpuSeconds: round(0.15 + (bytes / 1e9) * (contender === 'nabo' ? 0.5 : 2.4) * (0.9 + 0.2 * random())),
    peakRssBytes: Math.round((contender === 'nabo' ? 96 : 60) * MB * (0.95 + 0.1 * random())),
  }))
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}

/** A small generator of the linear congruential kind: equal on every machine. */
function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}
