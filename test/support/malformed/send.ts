import { connect, type Socket } from 'node:net'

import { type HttpAnswer, parseAnswers } from './http-answers.ts'
import type { MalformedRequest } from './malformed-request.ts'

/** What became of one connection. */
export type Outcome =
  | { readonly type: 'answered'; readonly answers: readonly HttpAnswer[] }
  /** The server closed it without an answer, or this side left. */
  | { readonly type: 'closed' }
  | { readonly type: 'failed'; readonly why: string }

/** Longer than the 10 s that the mirror may take to its headers, on a machine with other work. */
const DEADLINE_MS = 30_000
/** After a whole answer: for further answers to what was pipelined. */
const GRACE_MS = 5
/** Before this side leaves without an answer: the server has read what was sent. */
const LEAVE_AFTER_MS = 10

/** Sends a request over a connection of its own and reads what comes. Rejects only if nothing listens. */
export async function sendMalformed(request: MalformedRequest, port: number): Promise<Outcome> {
  const connection = await Connection.open(port)
  try {
    return await connection.run(request)
  } finally {
    connection.end(request.ending)
  }
}

class Connection {
  readonly #socket: Socket
  readonly #chunks: Buffer[] = []
  #end: 'open' | 'ended' | 'broken' = 'open'
  #onEvent: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#onEvent()
    })
    socket.on('end', () => this.#finish('ended'))
    // A server that closes with unread bytes resets the connection, and an answer may be lost with it.
    socket.on('error', () => this.#finish('broken'))
    socket.on('close', () => this.#finish('broken'))
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Connection(socket))
      })
    })
  }

  async run({ port, bytes, ending, isHead }: MalformedRequest): Promise<Outcome> {
    for (const part of bytes) {
      if (this.#end === 'open') this.#socket.write(part)
      if (bytes.length > 1) await new Promise((resolve) => setImmediate(resolve))
    }
    const leaves = ending === 'leave' || ending === 'reset'
    if (leaves) await this.#event(LEAVE_AFTER_MS)
    else if (ending === 'half-close' && this.#end === 'open') this.#socket.end()
    // What the router says is not HTTP.
    if (port === 'router') return { type: 'closed' }
    const deadline = performance.now() + DEADLINE_MS
    for (;;) {
      const isLast = leaves || this.#end !== 'open'
      const found = this.#read(isHead)
      if (found.type === 'failed' || (found.type === 'answered' && isLast)) return found
      if (isLast) return { type: 'closed' }
      if (found.type === 'answered') {
        await this.#event(GRACE_MS)
        return this.#read(isHead)
      }
      if (performance.now() > deadline) return { type: 'failed', why: `no answer within ${DEADLINE_MS} ms` }
      await this.#event(DEADLINE_MS)
    }
  }

  end(ending: MalformedRequest['ending']): void {
    if (ending === 'reset' && !this.#socket.destroyed) this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }

  #read(isHead: boolean): Outcome {
    try {
      const ended = this.#end === 'ended'
      const { complete, isCut } = parseAnswers(Buffer.concat(this.#chunks), { isHead, ended })
      if (isCut && ended) return { type: 'failed', why: 'the answer ends in the middle' }
      return complete.some(({ status }) => status >= 200) ? { type: 'answered', answers: complete } : { type: 'closed' }
    } catch (error) {
      return { type: 'failed', why: String(error) }
    }
  }

  #finish(end: 'ended' | 'broken'): void {
    if (this.#end === 'open') this.#end = end
    this.#onEvent()
  }

  /** Resolves at the next byte, at the end of the connection, or after a time. */
  #event(ms: number): Promise<void> {
    if (this.#end !== 'open') return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#onEvent = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
