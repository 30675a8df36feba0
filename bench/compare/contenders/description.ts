import { readFile } from 'node:fs/promises'
import { z } from 'zod'

import { NoContenderError } from './contender.ts'

/** What templates may name on every place, on nodes alone, and where one word is made for each other node. */
const PLACEHOLDERS = ['name', 'number', 'ip', 'firstIp', 'directory', 'registryUrl', 'secretFile', 'peers'] as const
const NODE_PLACEHOLDERS = ['containerdSocket', 'contentPath', 'certsDir'] as const
const PEER_PLACEHOLDERS = ['name', 'ip'] as const
const PLACEHOLDER = /\{([a-zA-Z]+)\}/g

const template = z.string().max(4096)
const word = z.union([template, z.strictObject({ each: z.array(template).min(1) })])

/** Says how to run a mirror that this repository knows nothing of. `bench/README.md` explains each field. */
const descriptionSchema = z
  .strictObject({
    $schema: z.string().optional(),
    id: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,31}$/),
    title: z.string().min(1).max(80),
    description: z.string().max(500).optional(),
    version: z.string().max(80).optional(),
    place: z.enum(['each-node', 'one-host']),
    // The program, then its arguments.
    command: z.tuple([template], word),
    env: z.record(z.string(), template).default({}),
    files: z.record(z.string().regex(/^[\w.-]+$/), z.array(template)).default({}),
    readyUrl: template,
    mirrorUrl: template,
    peers: z
      .strictObject({ each: template.default('{ip}'), separator: z.string().default(',') })
      .default({ each: '{ip}', separator: ',' }),
    cri: z.boolean().default(false),
    readySeconds: z.number().positive().max(600).default(60),
    settleSeconds: z.number().nonnegative().max(600).default(0),
  })
  .superRefine((value, context) => {
    for (const { path, text, known } of templatesOf(value)) {
      for (const name of namesIn(text)) {
        if (known.includes(name)) continue
        const message = `{${name}} means nothing here, known are ${known.map((each) => `{${each}}`).join(', ')}`
        context.addIssue({ code: 'custom', path, message })
      }
    }
  })

export type MirrorDescription = z.infer<typeof descriptionSchema>

/** What stands for what in a description's templates. */
export type Placeholders = Readonly<
  Record<(typeof PLACEHOLDERS)[number], string> & Partial<Record<(typeof NODE_PLACEHOLDERS)[number], string>>
>

/** One of the other nodes, as `each` sees it. */
export type PeerPlaceholders = Readonly<Record<(typeof PEER_PLACEHOLDERS)[number], string>>

/** Parses a description. Throws a `ZodError` that names each wrong field, and each placeholder that means nothing. */
export function parseDescription(value: unknown): MirrorDescription {
  return descriptionSchema.parse(value)
}

/** Reads a description from a JSON file. Throws NoContenderError. */
export async function readDescription(path: string): Promise<MirrorDescription> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const message = `${path} does not describe a mirror: it cannot be read (${cause.code}); built in are none, pull-through and nabo`
    throw new NoContenderError(message, { cause })
  })
  try {
    return parseDescription(JSON.parse(text))
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    throw new NoContenderError(`${path} does not describe a mirror: ${why}`, { cause })
  }
}

/** Puts values in the place of `{names}`. Throws if a name means nothing. */
export function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(PLACEHOLDER, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`{${name}} is none of ${Object.keys(values).join(', ')}`)
    return value
  })
}

/** The words of a command line: those of `each` come once for every other node. */
export function commandWords(
  command: MirrorDescription['command'],
  values: Placeholders,
  others: readonly PeerPlaceholders[],
): string[] {
  return command.flatMap((word) => {
    if (typeof word === 'string') return fill(word, values)
    return others.flatMap(({ name, ip }) => word.each.map((text) => fill(text, { name, ip })))
  })
}

interface Template {
  readonly path: (string | number)[]
  readonly text: string
  readonly known: readonly string[]
}

function templatesOf(description: MirrorDescription): Template[] {
  const { command, env, files, peers, place } = description
  const known = place === 'one-host' ? PLACEHOLDERS : [...PLACEHOLDERS, ...NODE_PLACEHOLDERS]
  const here = (text: string, ...path: (string | number)[]): Template => ({ path, text, known })
  const ofPeer = (text: string, ...path: (string | number)[]) => ({ path, text, known: PEER_PLACEHOLDERS })
  return [
    ...command.flatMap((word, i) => {
      if (typeof word === 'string') return here(word, 'command', i)
      return word.each.map((text, j) => ofPeer(text, 'command', i, 'each', j))
    }),
    ...Object.entries(env).map(([name, text]) => here(text, 'env', name)),
    ...Object.entries(files).flatMap(([name, lines]) => lines.map((line, i) => here(line, 'files', name, i))),
    here(description.readyUrl, 'readyUrl'),
    here(description.mirrorUrl, 'mirrorUrl'),
    ofPeer(peers.each, 'peers', 'each'),
  ]
}

function namesIn(text: string): string[] {
  return [...text.matchAll(PLACEHOLDER)].flatMap(([, name]) => name ?? [])
}
