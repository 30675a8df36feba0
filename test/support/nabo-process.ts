import { fileURLToPath } from 'node:url'
import { z } from 'zod'

import { Child, type ChildExit, type ChildOptions } from './child.ts'
import type { AgentResponse, RequestOptions } from './netns/http-agent.ts'
import { eventually } from './poll.ts'

export interface NaboOptions extends ChildOptions {
  /** Of `nabo serve`, without the word itself. */
  readonly flags: readonly string[]
  /** What is run instead of this checkout's own `bin/nabo`. */
  readonly program?: readonly [string, ...string[]]
  /** How to reach its loopback: from inside its namespace, if it has one. */
  readonly fetch: (url: string, options?: RequestOptions) => Promise<AgentResponse>
}

/** Reaches the loopback of this machine, for a process without a namespace of its own. */
export async function localFetch(url: string): Promise<AgentResponse> {
  const response = await fetch(url)
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.bytes() }
}

/** What the request log says of one request. */
export type RequestLine = z.infer<typeof requestLineSchema>

const shareSchema = z.object({
  source: z.enum(['local', 'peer', 'upstream']),
  peer: z.string().optional(),
  bytes: z.number(),
})

const requestLineSchema = z.looseObject({
  msg: z.literal('request'),
  /** When it had ended. */
  time: z.iso.datetime(),
  listener: z.string(),
  kind: z.string().optional(),
  method: z.string(),
  status: z.number(),
  bytes: z.number(),
  durationMs: z.number(),
  outcome: z.string(),
  digest: z.string().optional(),
  source: shareSchema.shape.source.optional(),
  peer: z.string().optional(),
  /** Only if there were several sources. */
  shares: z.array(shareSchema).optional(),
})

export type NaboAddresses = z.infer<typeof addressesSchema>

const addressesSchema = z.object({
  msg: z.literal('nabo serves'),
  mirror: z.array(z.string()).min(1),
  peer: z.array(z.string()),
  admin: z.array(z.string()).min(1),
})

/** A running `nabo serve`. */
export class NaboProcess {
  readonly #child: Child
  readonly #fetch: NaboOptions['fetch']

  constructor(options: NaboOptions) {
    const { flags, fetch, program, ...childOptions } = options
    const [command, ...args] = program ?? [fileURLToPath(new URL('../../bin/nabo', import.meta.url))]
    // The default socket is one for the whole machine, and not the tests'.
    const env = { NABO_ADMIN_SOCKET: 'none', ...(childOptions.env ?? process.env) }
    this.#child = new Child(command, [...args, 'serve', ...flags], { ...childOptions, env })
    this.#fetch = fetch
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it wrote, both streams. */
  get logs(): readonly string[] {
    return this.#child.lines
  }

  get exit(): ChildExit | undefined {
    return this.#child.exit
  }

  /** Its request log so far. */
  requests(): readonly RequestLine[] {
    return this.#parsed(requestLineSchema)
  }

  /** Waits until `/readyz` says so. Throws at once if the process ends. */
  async ready(timeoutMs = 60_000): Promise<void> {
    await this.#waitFor('nabo is ready', timeoutMs, async () => {
      const { status, body } = await this.adminGet('/readyz')
      if (status !== 200) throw new Error(Buffer.from(body).toString('utf8'))
      return true
    })
  }

  /** Where it listens, once it does; with `--mirror-addr 127.0.0.1:0` and the like it has chosen the ports itself. */
  listening(): Promise<NaboAddresses> {
    return this.#waitFor('nabo listens', 30_000, () => this.#parsed(addressesSchema).at(-1))
  }

  async adminGet(path: string): Promise<AgentResponse> {
    const { admin } = await this.listening()
    return this.#fetch(`http://${admin[0]}${path}`)
  }

  /** One number of `/metrics`: the sum over all samples of `name` whose labels include `labels`; 0 if there is none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const text = Buffer.from((await this.adminGet('/metrics')).body).toString('utf8')
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => wanted.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  async #waitFor<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
    const lastWords = () => `its last words:\n${this.logs.slice(-20).join('\n')}`
    const find = async () => {
      if (this.exit !== undefined) return { exit: this.exit }
      const value = await look()
      return value === undefined ? undefined : { value }
    }
    const found = await eventually(what, find, { timeoutMs }).catch((cause: unknown) => {
      throw new Error(`${what}: waited in vain; ${lastWords()}`, { cause })
    })
    if ('exit' in found) throw new Error(`${what}: it ended (${found.exit.signal ?? found.exit.code}); ${lastWords()}`)
    return found.value
  }

  #parsed<T>(schema: z.ZodType<T>): T[] {
    return this.#child.lines.flatMap((line) => {
      const parsed = line.startsWith('{') ? schema.safeParse(parseJson(line)) : undefined
      return parsed?.success === true ? [parsed.data] : []
    })
  }

  /** SIGTERM. */
  stop(): Promise<ChildExit> {
    return this.#child.stop()
  }

  /** SIGKILL. */
  kill(): Promise<ChildExit> {
    return this.#child.kill()
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.signal(signal)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
