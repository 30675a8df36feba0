import { parseArgs } from 'node:util'
import { z } from 'zod'

import { type ImageCase, parseImageCase } from './images.ts'
import type { Settings } from './results.ts'

/** What is measured, and how. */
export interface Plan {
  readonly mode: Settings['mode']
  readonly out: string
  readonly merge: boolean
  readonly estimateOnly: boolean
  readonly nodes: number
  readonly repeats: number
  /** As tc writes it, `400mbit`; undefined: as fast as it goes. */
  readonly rate: string | undefined
  readonly registryRate: string | undefined
  readonly latencyMs: number
  readonly unpack: boolean
  readonly scenarios: readonly string[]
  /** Ids, or paths of descriptions. */
  readonly contenders: readonly string[]
  readonly images: readonly ImageCase[]
}

/** The command line was wrong; its message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const PRESETS = {
  custom: { nodes: '6', scenarios: 'a,b,c,d,e,f,g', images: '100x4', repeats: '3' },
  quick: { nodes: '3', scenarios: 'a,b,e', images: '10x4', repeats: '1' },
  full: { nodes: '6', scenarios: 'a,b,c,d,e,f,g', images: '10x1,10x4,100x1,100x4,1000x1,1000x4', repeats: '1' },
} as const

const integer = (max: number) => z.coerce.number().int().positive().max(max)
const rate = z
  .string()
  .regex(/^(none|\d+(\.\d+)?[kmg]bit)$/, 'is as 400mbit, or none')
  .transform((text) => (text === 'none' ? undefined : text))
  .refine((text) => (bitsPerSecond(text) ?? Infinity) >= 1000, 'is 1kbit at least')
const list = z.string().transform((text) => text.split(',').filter((item) => item !== ''))

const optionsSchema = z.object({
  out: z.string().default('.nabo/bench'),
  merge: z.boolean().default(false),
  estimate: z.boolean().default(false),
  unpack: z.boolean().default(false),
  // A switch's worth of addresses, and at least somebody to get something from.
  nodes: integer(60).min(2),
  repeats: integer(100),
  rate: rate.prefault('400mbit'),
  'registry-rate': rate.prefault('200mbit'),
  latency: z.coerce.number().nonnegative().max(10_000).default(40),
  scenarios: list.pipe(z.array(z.enum(['a', 'b', 'c', 'd', 'e', 'f', 'g'])).min(1)),
  contenders: list.pipe(z.array(z.string()).min(1)).prefault('none,pull-through,nabo'),
  images: list.pipe(z.array(z.string().transform(imageCase)).min(1)),
})

export const USAGE = `npm run bench -- [options]      (as root, on Linux)
  --quick                    3 nodes, 10 MB, scenarios a, b, e: a minute or two
  --full                     all scenarios, 10 and 100 MB (b and c: 1 GB too) in 1 and 4 layers, once: see --estimate
  --out DIR                  where results.json, results.md and report.html go (.nabo/bench)
  --merge                    add to what DIR/results.json has: what is measured again counts as further repeats, so that a --full
                             of several repeats can be made in as many sittings (same machine, links and versions)
  --estimate                 say how long it may take, and end
  --nodes N                  (6)
  --rate R                   of each node's link, as 400mbit, or none (400mbit)
  --registry-rate R          of the registry's link (200mbit)
  --latency MS               before each answer of the registry (40)
  --scenarios a,b,...        (all)
  --contenders c,...         none, pull-through, nabo, or a file that describes a mirror (none,pull-through,nabo)
  --images 100x4,...         megabytes x 1 or 4 layers (100x4)
  --repeats N                (3; --quick and --full: 1)
  --unpack                   measure the unpacking into snapshots too

Stopped by Ctrl-C or an error, it still writes the report of the runs that there are. It ends with
  0    all contenders took part, and all pulls worked that should (in e and g, and in f without its cache, they may fail)
  1    a contender could not take part, failed, or brought wrong content; a pull failed; or the benchmark itself failed
  64   the command line is wrong
  77   it cannot run here
  130  interrupted (by SIGTERM 143, by SIGHUP 129)
`

/** Reads the command line. Throws {@link UsageError}. */
export function parsePlan(args: readonly string[]): Plan {
  const { quick, full, ...values } = readOptions(args)
  if (quick === true && full === true) throw new UsageError('--quick or --full, not both')
  const mode = quick === true ? 'quick' : full === true ? 'full' : 'custom'
  const parsed = optionsSchema.safeParse({ ...PRESETS[mode], ...values })
  if (!parsed.success) throw new UsageError(z.prettifyError(parsed.error))
  const { 'registry-rate': registryRate, latency: latencyMs, estimate: estimateOnly, ...rest } = parsed.data
  return { ...rest, mode, rate: rest.rate, registryRate, latencyMs, estimateOnly }
}

/** Bits a second of what tc writes as `400mbit`. */
export function bitsPerSecond(rate: string | undefined): number | undefined {
  const [, number, unit] = /^([\d.]+)([kmg])bit$/.exec(rate ?? '') ?? []
  const factor = { k: 1e3, m: 1e6, g: 1e9 }[unit ?? '']
  return factor === undefined ? undefined : Number(number) * factor
}

const HOW_PULLED =
  'through containerd’s hosts directory, as one call a node; then the record by digest that the CRI would make is added.'

/** What results say of a plan. */
export function settingsOf(plan: Plan): Settings {
  const nodeBits = bitsPerSecond(plan.rate)
  const registryBits = bitsPerSecond(plan.registryRate)
  return {
    mode: plan.mode,
    nodes: plan.nodes,
    repeats: plan.repeats,
    ...(nodeBits === undefined ? {} : { nodeBitsPerSecond: nodeBits }),
    ...(registryBits === undefined ? {} : { registryBitsPerSecond: registryBits }),
    registryLatencyMs: plan.latencyMs,
    notes: [
      plan.unpack
        ? `A pull is ctr images pull ${HOW_PULLED} Pulls unpack into snapshots.`
        : `A pull is ctr content fetch ${HOW_PULLED} It does not unpack: all contenders would do that alike.`,
      'The update of an image of one layer is left out of a and b: it would share nothing, as a first version does.',
      'All nodes share the processors, memory and disk of one machine.',
      'Each run begins with empty content stores and newly started mirrors; the page cache is not dropped, and the registry serves from memory.',
      'The latency is in the registry’s answers, not in its packets: long distances also slow TCP down, which does not show here.',
    ],
  }
}

function readOptions(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: flag,
        full: flag,
        out: text,
        merge: flag,
        estimate: flag,
        unpack: flag,
        nodes: text,
        repeats: text,
        rate: text,
        'registry-rate': text,
        latency: text,
        scenarios: text,
        contenders: text,
        images: text,
      },
    }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function imageCase(text: string, context: z.RefinementCtx): ImageCase {
  try {
    return parseImageCase(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
    return z.NEVER
  }
}
