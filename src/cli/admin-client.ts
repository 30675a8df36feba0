import { z } from 'zod'

import { TooManyBytesError, readBounded } from '../async/read-bounded.ts'
import type { AdminCall, JsonCall, LinesCall } from '../contracts/admin-contract.ts'
import { encodeMessage } from '../contracts/message.ts'
import { type HttpAnswer, HttpRequests } from '../http-client/http-requests.ts'
import { DeadlineError, withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import { printable } from './printable.ts'

export const DEFAULT_ADMIN_URL = 'http://127.0.0.1:7953'

/** The daemon does not answer, or refuses. The message is one sentence for the user of the command. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  /** Of the daemon's answer; undefined if there was none. */
  readonly status: number | undefined

  constructor(message: string, options: { status?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.status = options.status
  }
}

/** The Unix socket of a daemon, or its admin listener on TCP, which answers about public content only. */
export type AdminTarget = { readonly socket: string } | { readonly url: URL }

export interface AskOptions {
  readonly signal?: AbortSignal
  /** Milliseconds for the whole answer; of lines: until the first byte, and between two lines. */
  readonly timeout?: number
}

interface CallParameters<Query, Body> {
  readonly query?: Query
  readonly body?: Body
}

const TIMEOUT = 10 * second
/** In bytes. A node with 100,000 blobs and 10,000 peers answers with less. */
const MAX_ANSWER = 16 * 1024 * 1024
const MAX_LINE = 1024 * 1024
/** `Host` of requests over the socket, where it means nothing. */
const SOCKET_HOST = 'http://localhost'

/** Calls the admin API of a daemon, by its contracts. Throws AdminError, or the reason of an aborted signal. */
export class AdminClient {
  /** The socket's path or the URL, for messages. */
  readonly where: string
  readonly #base: URL
  readonly #requests: HttpRequests

  constructor(target: AdminTarget) {
    const isSocket = 'socket' in target
    this.#base = isSocket ? new URL(SOCKET_HOST) : target.url
    this.where = isSocket ? target.socket : target.url.origin
    this.#requests = new HttpRequests({ socketPath: isSocket ? target.socket : undefined, idleTimeout: 0 })
  }

  async call<Query, Body, Answer>(
    call: JsonCall<Query, Body, Answer>,
    parameters: CallParameters<Query, Body> = {},
    options: AskOptions = {},
  ): Promise<Answer> {
    const never = new AbortController().signal
    return this.#within(call, options.timeout ?? TIMEOUT, options.signal ?? never, async (signal) => {
      const answer = await this.#open(call, parameters, signal)
      return this.#parsed(await this.#text(answer, MAX_ANSWER), call.answer, call.path)
    })
  }

  /** Yields the lines of the answer as they arrive. */
  async *lines<Query, Body, Line>(
    call: LinesCall<Query, Body, Line>,
    parameters: CallParameters<Query, Body> = {},
    options: AskOptions = {},
  ): AsyncGenerator<Line, void, undefined> {
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, options.signal ?? controller.signal])
    const timeout = options.timeout ?? TIMEOUT
    try {
      const answer = await this.#within(call, timeout, signal, () => this.#open(call, parameters, signal))
      const lines = linesOf(answer.body)
      for (;;) {
        const line = await this.#within(call, timeout, signal, () => lines.next())
        if (line.done === true) return
        yield this.#parsed(line.value, call.line, call.path)
      }
    } finally {
      controller.abort(new Error('the answer is not read any further'))
    }
  }

  close(): Promise<void> {
    return this.#requests.close()
  }

  async #within<T>(
    { audience }: Pick<AdminCall, 'audience'>,
    ms: number,
    parent: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    try {
      return await withDeadline(ms, `the answer of ${this.where}`, parent, work)
    } catch (error) {
      parent.throwIfAborted()
      throw this.#explained(error, audience)
    }
  }

  async #open<Query, Body>(
    call: JsonCall<Query, Body, unknown> | LinesCall<Query, Body, unknown>,
    { query, body }: CallParameters<Query, Body>,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const url = new URL(call.path, this.#base)
    for (const [name, value] of Object.entries(query ?? {}))
      if (typeof value === 'string') url.searchParams.set(name, value)
    const sent = call.body !== undefined && body !== undefined ? encodeMessage(call.body, body) : undefined
    const answer = await this.#requests.send(url, {
      method: call.method,
      // The caller's deadline covers the wait for the head.
      headersTimeout: 0,
      signal,
      ...(sent === undefined ? {} : { body: sent, headers: { 'content-type': 'application/json' } }),
    })
    const { status } = answer
    const statuses = (call.format === 'json' ? call.statuses?.all : undefined) ?? [200]
    if (statuses.includes(status)) return answer
    throw new AdminError(refusal(await this.#text(answer, MAX_LINE), status, call.path, this.where), { status })
  }

  async #text(answer: HttpAnswer, limit: number): Promise<string> {
    try {
      return (await readBounded(answer.body, limit)).toString('utf8')
    } catch (cause) {
      if (cause instanceof TooManyBytesError) throw new AdminError('the answer is too long', { cause })
      throw cause
    }
  }

  #parsed<T>(body: string, schema: z.ZodType<T>, path: string): T {
    let json: unknown
    try {
      json = JSON.parse(body)
    } catch (cause) {
      throw new AdminError(`what answers at ${this.where} is no Nabo: ${path} is not JSON there`, { cause })
    }
    const parsed = z.safeDecode(schema, json)
    if (parsed.success) return parsed.data
    const where = parsed.error.issues[0]?.path.join('.') ?? ''
    throw new AdminError(
      `the daemon at ${this.where} is of another version than this command: ${path} says ${where || 'something'} that is not understood`,
    )
  }

  #explained(error: unknown, audience: AdminCall['audience']): AdminError {
    if (error instanceof AdminError) return error
    if (error instanceof DeadlineError)
      return new AdminError(`the daemon at ${this.where} did not answer in time`, { cause: error })
    const { name, code = '' } = error as NodeJS.ErrnoException
    if (name === 'HTTPParserError') return new AdminError(`what answers at ${this.where} is no Nabo`, { cause: error })
    if (code === 'EACCES' || code === 'EPERM') {
      const onTcp = audience === 'anyone' ? `, or ask for public content with --admin-url ${DEFAULT_ADMIN_URL}` : ''
      return new AdminError(
        `${this.where} belongs to another user: run the command as the user of the daemon${onTcp}`,
        { cause: error },
      )
    }
    const isDown =
      /^(ENOENT|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT)$/
    const why = isDown.test(code) ? 'is the daemon running?' : `the connection broke off (${code || 'unknown error'})`
    return new AdminError(`no Nabo answers at ${this.where}: ${why}`, { cause: error })
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE) throw new AdminError('a line of the answer is too long')
    yield* lines.filter((line) => line.trim() !== '')
  }
  if (rest.trim() !== '') yield rest
}

/** The daemon's own sentence, or the meaning of an answer without one. */
function refusal(body: string, status: number, path: string, where: string): string {
  const error = firstError(body)
  if (status === 404 && (error === undefined || error.code === 'NOT_FOUND'))
    return `the daemon at ${where} does not know ${path}: is it older than this command?`
  if (status === 405 && error?.code === 'UNSUPPORTED')
    return `the daemon at ${where} does not take ${path}: is it older than this command?`
  return error === undefined ? `${where} answered ${status}` : printable(error.message)
}

function firstError(body: string): { code: string; message: string } | undefined {
  try {
    const { errors } = JSON.parse(body) as { errors?: { code?: unknown; message?: unknown }[] }
    const first = errors?.[0]
    return typeof first?.message === 'string' ? { code: String(first.code), message: first.message } : undefined
  } catch {
    return undefined
  }
}
