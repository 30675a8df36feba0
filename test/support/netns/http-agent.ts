import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

export interface AgentRequest {
  readonly id: number
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
}

const responseSchema = z.object({
  status: z.number(),
  headers: z.record(z.string(), z.string()),
  body: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
})

const messageSchema = z.union([
  z.object({ id: z.number(), error: z.string() }),
  z.object({ id: z.number(), value: responseSchema }),
])

export type AgentResponse = z.infer<typeof responseSchema>

export interface RequestOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Makes HTTP requests from inside a network namespace, by a child process that starts with the first one. */
export class HttpAgent {
  readonly #netns: string
  readonly #waiting = new Map<number, PromiseWithResolvers<AgentResponse>>()
  #child: ChildProcess | undefined
  #count = 0

  constructor(netns: string) {
    this.#netns = netns
  }

  /** Does not follow redirects. Rejects if there is no whole answer within a minute. */
  async fetch(url: string, options: RequestOptions = {}): Promise<AgentResponse> {
    const child = (this.#child ??= this.#start())
    const id = this.#count++
    const waiter = Promise.withResolvers<AgentResponse>()
    this.#waiting.set(id, waiter)
    const { method = 'GET', headers = {}, body } = options
    child.send({ id, url, method, headers, body } satisfies AgentRequest, (error) => {
      if (error !== null) waiter.reject(error)
    })
    try {
      return await waiter.promise
    } finally {
      this.#waiting.delete(id)
    }
  }

  stop(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  #start(): ChildProcess {
    const main = fileURLToPath(new URL('agent.ts', import.meta.url))
    const args = ['netns', 'exec', this.#netns, process.execPath, main]
    const child = spawn('ip', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' })
    const onEnd = () => {
      if (this.#child === child) this.#child = undefined
      for (const waiter of this.#waiting.values()) waiter.reject(new Error(`the HTTP agent in ${this.#netns} ended`))
    }
    child.once('error', onEnd)
    child.once('exit', onEnd)
    child.on('message', (message) => {
      const answer = messageSchema.parse(message)
      const waiter = this.#waiting.get(answer.id)
      if ('error' in answer) waiter?.reject(new Error(answer.error))
      else waiter?.resolve(answer.value)
    })
    return child
  }
}
