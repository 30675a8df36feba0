import { readFile, stat, writeFile } from 'node:fs/promises'
import { z } from 'zod'

// What a benchmark leaves behind: facts only, no judgement. Everything that the report shows is computed from this. Fields that only the rig can
// know (what the registry saw, what the mirrors cost) are optional: a measurement on a real cluster leaves them out.

const text = z.string().max(500)
const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/u)
const seconds = z.number().nonnegative()
const bytes = z.number().int().nonnegative()
const count = z.number().int().nonnegative()

const maxFileBytes = 256 * 1024 * 1024
const maxLogChars = 64 * 1024

const machine = z.strictObject({
  /** One line for people: "AMD EPYC 7B13, 2 cores, 8 GiB" is made from the rest; this is where it stands ("CI runner", "my laptop"). */
  label: text.optional(),
  cpu: text,
  cores: count,
  memoryBytes: bytes,
  os: text,
  kernel: text,
  /** Of the folder that content stores are in: "ext4 on /dev/vda", "tmpfs". */
  fileSystem: text.optional(),
  /** How many processes were running or waiting on average in the minute before the start. */
  loadAtStart: z.number().nonnegative().optional(),
  /** Name and version of what took part: node, containerd, docker-registry, kubernetes … */
  software: z.record(id, text),
})

const settings = z.strictObject({
  mode: z.enum(['quick', 'full', 'custom', 'cluster']),
  nodes: count,
  repeats: count,
  /** Bits a second of each node's link, both ways. */
  nodeBitsPerSecond: z.number().positive().optional(),
  /** Bits a second of the registry's link. */
  registryBitsPerSecond: z.number().positive().optional(),
  /** Added to each of the registry's answers. */
  registryLatencyMs: z.number().nonnegative().optional(),
  /** Whatever else shaped the figures, as words. */
  notes: z.array(text).max(50).optional(),
})

const contender = z.strictObject({
  /** `none` is "no mirror": what all others are compared with. */
  id,
  title: text,
  version: text.optional(),
  description: text.optional(),
  /** Why it could not take part at all (not ready, not there); its runs may then be missing. */
  failure: z.string().max(2000).optional(),
  /** The end of what it said. */
  log: z.string().max(maxLogChars).optional(),
})

const scenario = z.strictObject({
  /** `a` … `g` in the rig. */
  id,
  title: text,
  description: text.optional(),
})

const image = z.strictObject({
  /** What pulls refer to. */
  name: text,
  bytes,
  layers: count,
  /** Bytes that the nodes already held from an earlier version. */
  heldBytes: bytes.optional(),
})

const pull = z.strictObject({
  image: text,
  /** Seconds from the start of the run. */
  at: seconds,
  /** How long it took, or until it failed. */
  seconds,
  ok: z.boolean(),
  error: z.string().max(2000).optional(),
})

const node = z.strictObject({
  name: text,
  /** `seed` had the image before (its pulls are not counted), `killed` was killed on purpose (nor are its). Absent: an ordinary node. */
  role: z.enum(['seed', 'killed']).optional(),
  pulls: z.array(pull).max(10_000),
})

const transfer = z.strictObject({
  /** Seconds from the start of the run, when it began. */
  at: seconds,
  seconds,
  /** Who received. */
  node: text,
  digest: text,
  /** `local`: the node had it; `peer`: another node; `mirror`: a cache that is no node; `upstream`: the registry. */
  source: z.enum(['local', 'peer', 'mirror', 'upstream']),
  /** The name of the node or cache that sent. */
  from: text.optional(),
  bytes,
})

const run = z.strictObject({
  scenario: id,
  /** What was pulled, in words that are the same for all contenders: "100 MB, 4 layers, update". Pairs are formed by it. */
  variant: text,
  contender: id,
  /** From 0; the same repeat of two contenders is a pair. */
  repeat: count,
  images: z.array(image).max(1000),
  nodes: z.array(node).max(10_000),
  /** From the first pull's start until all nodes that should have the images have them, or the last pull has failed. */
  wallSeconds: seconds,
  /** Waiting between pulls until others could know what a node had: not in `wallSeconds`, but `at` of pulls and transfers goes on through it. */
  pausedSeconds: seconds.optional(),
  /** The mirror that was killed on purpose, when, and what it had sent to other nodes in this run until then: 0 means that nothing was struck. */
  killed: z.strictObject({ node: text, at: seconds, sentBytes: bytes }).optional(),
  /** Share of all cores' time that was used, 0 to 1: near 1 it was the machine that took so long. */
  busy: z.number().min(0).max(1).optional(),
  upstream: z.strictObject({ bytes, countedPulls: count, manifestGets: count }).optional(),
  /** Bytes that nodes (and a cache) sent to nodes. */
  peerBytes: bytes.optional(),
  mirrors: z
    .array(z.strictObject({ node: text, cpuSeconds: seconds, peakRssBytes: bytes }))
    .max(10_000)
    .optional(),
  transfers: z.array(transfer).max(200_000).optional(),
  /** Every image that a node was said to have was compared byte by byte with what was pushed. Absent: there was nothing to check. */
  contentOk: z.boolean().optional(),
  /** The contender broke down (not ready, crashed, wrong bytes), in a sentence. A pull that fails by itself stands in the pulls. */
  failure: z.string().max(2000).optional(),
  /** The benchmark itself broke down, in a sentence: this says nothing of the contender, and the run counts as not made. */
  rigFailure: z.string().max(2000).optional(),
  log: z.string().max(maxLogChars).optional(),
})

const results = z
  .strictObject({
    format: z.literal('nabo-bench/1'),
    /** ISO 8601, UTC. */
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime(),
    /** What was measured: a version or commit of Nabo. */
    revision: text.optional(),
    machine,
    settings,
    contenders: z.array(contender).max(100),
    scenarios: z.array(scenario).max(100),
    /** In the order in which they were made, so that a reader sees that contenders were interleaved. */
    runs: z.array(run).max(100_000),
  })
  .superRefine((value, context) => {
    for (const message of contradictions(value)) context.addIssue({ code: 'custom', message })
  })

type ResultsShape = {
  contenders: { id: string }[]
  scenarios: { id: string }[]
  runs: { scenario: string; variant: string; contender: string; repeat: number }[]
}

function contradictions({ contenders, scenarios, runs }: ResultsShape): string[] {
  const found: string[] = []
  const known = { contender: new Set(contenders.map(({ id }) => id)), scenario: new Set(scenarios.map(({ id }) => id)) }
  if (known.contender.size < contenders.length) found.push('two contenders have the same id')
  if (known.scenario.size < scenarios.length) found.push('two scenarios have the same id')
  const seen = new Set<string>()
  for (const run of runs) {
    const name = `${run.scenario}, ${run.variant}, ${run.contender}, repeat ${run.repeat}`
    if (!known.contender.has(run.contender)) found.push(`${name}: no such contender`)
    if (!known.scenario.has(run.scenario)) found.push(`${name}: no such scenario`)
    if (seen.has(name)) found.push(`${name}: there twice`)
    seen.add(name)
  }
  return found
}

export type Results = z.infer<typeof results>
export type Machine = Results['machine']
export type Settings = Results['settings']
export type Contender = Results['contenders'][number]
export type Scenario = Results['scenarios'][number]
export type Run = Results['runs'][number]
export type RunNode = Run['nodes'][number]
export type Pull = RunNode['pulls'][number]
export type Transfer = NonNullable<Run['transfers']>[number]
export type Image = Run['images'][number]

/** The contender that all others are compared with. */
export const baseline = 'none'

/** Checks what a results.json says; throws a `ZodError` that names each wrong field. */
export function parseResults(value: unknown): Results {
  return results.parse(value)
}

/** Reads and checks a results.json of at most 256 MiB. */
export async function readResults(path: string): Promise<Results> {
  const { size } = await stat(path)
  if (size > maxFileBytes) throw new Error(`${path} is larger than ${maxFileBytes} bytes`)
  try {
    return parseResults(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause)
    throw new Error(`${path} is no results.json of this benchmark: ${why}`, { cause })
  }
}

/** Writes a results.json, checked first, so that what is written can be read. */
export async function writeResults(path: string, value: Results): Promise<void> {
  await writeFile(path, `${JSON.stringify(parseResults(value), undefined, 1)}\n`)
}

/** The end of a log, cut to what a results.json takes. */
export function logTail(log: string): string {
  return log.length <= maxLogChars ? log : log.slice(-maxLogChars)
}
