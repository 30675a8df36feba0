import { fileURLToPath } from 'node:url'
import { z } from 'zod'

import { Child, type ChildExit, type ChildOptions } from './child.ts'
import type { AgentResponse, RequestOptions } from './netns/http-agent.ts'
import { eventually } from './poll.ts'

const DEFAULT_ADMIN = 'http://127.0.0.1:7953'

export interface NaboOptions extends ChildOptions {
  /** Of `nabo serve`, without the word itself. */
  readonly flags: readonly string[]
  /** How to reach its loopback: from inside its namespace, if it has one. */
  readonly fetch: (url: string, options?: RequestOptions) => Promise<AgentResponse>
  /** Where its admin listener is. */
  readonly adminUrl?: string
}

/** What the request log says of one request. */
export type RequestLine = z.infer<typeof requestLineSchema>

const requestLineSchema = z.looseObject({
  kind: z.string(),
  digest: z.string().optional(),
  source: z.string().optional(),
  peer: z.string().optional(),
  bytes: z.number().optional(),
  durationMs: z.number().optional(),
  status: z.number().optional(),
})

/** A running `nabo serve`. */
export class NaboProcess {
  readonly #child: Child
  readonly #fetch: NaboOptions['fetch']
  readonly #adminUrl: string

  constructor(options: NaboOptions) {
    const { flags, fetch, adminUrl, ...childOptions } = options
    const bin = fileURLToPath(new URL('../../bin/nabo', import.meta.url))
    this.#child = new Child(bin, ['serve', ...flags], childOptions)
    this.#fetch = fetch
    this.#adminUrl = adminUrl ?? DEFAULT_ADMIN
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
    return this.#child.lines.flatMap((line) => {
      const parsed = line.startsWith('{') ? requestLineSchema.safeParse(parseJson(line)) : undefined
      return parsed?.success === true ? [parsed.data] : []
    })
  }

  /** Waits until `/readyz` says so. Throws at once if the process ends. */
  async ready(timeoutMs = 60_000): Promise<void> {
    try {
      await eventually(
        'nabo is ready',
        async () => {
          if (this.exit !== undefined) return 'ended'
          const { status, body } = await this.adminGet('/readyz')
          if (status !== 200) throw new Error(Buffer.from(body).toString('utf8'))
          return 'ready'
        },
        { timeoutMs },
      )
    } catch (error) {
      throw new Error(`nabo is not ready; its last words:\n${this.logs.slice(-20).join('\n')}`, { cause: error })
    }
    if (this.exit !== undefined) {
      throw new Error(`nabo ended (${this.exit.signal ?? this.exit.code}):\n${this.logs.slice(-20).join('\n')}`)
    }
  }

  adminGet(path: string): Promise<AgentResponse> {
    return this.#fetch(`${this.#adminUrl}${path}`)
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
