import { connect, type Socket } from 'node:net'

import type { BufferPool } from '../../mover/buffer-pool.ts'
import { formatHostPort, type HostPort } from '../../overlay/host-port.ts'
import { AnswerHeadError, parseAnswerHead } from './answer-head.ts'
import { PeerBody } from './peer-body.ts'

export interface PeerAnswer {
  readonly status: number
  /** By names in small letters. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: PeerBody
}

/** A peer did not let itself be connected to in time: its machine is gone, or out of reach. */
export class PeerTimeoutError extends Error {
  override readonly name = 'PeerTimeoutError'
}

/** A peer that is connected did not begin to answer in time: it has too little CPU time, or is frozen. */
export class SlowAnswerError extends Error {
  override readonly name = 'SlowAnswerError'
}

/** A connection that had been kept ended before anything of the answer came: a new one may well work. */
export class StaleConnectionError extends Error {
  override readonly name = 'StaleConnectionError'
}

export interface PeerConnectionOptions {
  readonly connectTimeout: number
  /** The longest silence inside a body that somebody waits for, in milliseconds. */
  readonly idleTimeout: number
  readonly buffers: BufferPool
  /** Told each time when it can be asked again. */
  onFree(connection: PeerConnection): void
  onClosed(connection: PeerConnection): void
}

interface Question {
  readonly answer: PromiseWithResolvers<PeerAnswer>
  /** The head has come. */
  answered(): void
  /** It is over, whatever came of it. */
  ended(): void
}

/** More than Nabo's own heads need, and what comes of a body with it is copied. */
const HEAD_BYTES = 4 * 1024
const MAX_HEAD_BYTES = 32 * 1024
/** Below this a buffer of the right size costs less than one of the pool. */
const MIN_POOLED = 64 * 1024

/**
 * One connection to a peer listener, for one question at a time. What comes is read straight into buffers of the pool, which the body's
 * reader gets as they are: no parser or stream in between touches or copies the bytes.
 */
export class PeerConnection {
  readonly address: string
  readonly #options: PeerConnectionOptions
  readonly #socket: Socket
  readonly #headBuffer = Buffer.allocUnsafeSlow(HEAD_BYTES)
  /** Where the next bytes go: the buffer for heads, or the beginning of `#buffer`. */
  #target: Buffer = this.#headBuffer
  #buffer: Buffer | undefined
  #head = ''
  #question: Question | undefined
  #body: PeerBody | undefined
  #keepsAlive = true
  #wasUsed = false
  /** Why this side ended it. */
  #reason: Error | undefined
  /** What the system said of it. */
  #failure: Error | undefined

  constructor(address: HostPort, options: PeerConnectionOptions) {
    this.address = formatHostPort(address)
    this.#options = options
    const { connectTimeout } = options
    let isConnected = false
    this.#socket = connect({
      ...address,
      noDelay: true,
      onread: { buffer: () => this.#target, callback: (count) => this.#onRead(count) },
    })
    const timer = afterPoll(connectTimeout, () => {
      if (!isConnected) this.destroy(new PeerTimeoutError(`no connection within ${connectTimeout} ms`))
    })
    this.#socket.once('connect', () => {
      isConnected = true
      clearTimeout(timer)
    })
    this.#socket.on('error', (error) => (this.#failure ??= error))
    this.#socket.once('close', () => {
      clearTimeout(timer)
      this.#onClose()
    })
  }

  /** Whether it can still be asked something, as far as is known. */
  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.readable
  }

  /** Sends a GET, as it goes on the wire, and reads the answer's head. Not to be called while another answer is under way. */
  ask(request: string, options: { headerTimeout: number; signal: AbortSignal }): Promise<PeerAnswer> {
    const { headerTimeout, signal } = options
    const answer = Promise.withResolvers<PeerAnswer>()
    let isAnswered = false
    const timer = afterPoll(headerTimeout, () => {
      if (!isAnswered) this.destroy(new SlowAnswerError(`no answer within ${headerTimeout} ms`))
    })
    const onAbort = () => this.destroy(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    const answered = () => {
      isAnswered = true
      clearTimeout(timer)
    }
    const ended = () => {
      answered()
      signal.removeEventListener('abort', onAbort)
    }
    this.#question = { answer, answered, ended }
    this.#socket.write(request, 'latin1')
    return answer.promise
  }

  /** Safe to call at any time. */
  destroy(error: Error): void {
    this.#reason ??= error
    this.#body?.fail(error)
    this.#socket.destroy()
  }

  /** Says whether to go on reading. */
  #onRead(count: number): boolean {
    try {
      if (this.#body !== undefined) this.#onBody(this.#body, count)
      else if (this.#question !== undefined) this.#onHead(this.#question, this.#headBuffer.subarray(0, count))
      else throw new Error('it sent what nobody had asked for')
    } catch (error) {
      this.destroy(error as Error)
    }
    return !this.#socket.destroyed && (this.#body?.hasRoom ?? true)
  }

  #onHead(question: Question, bytes: Buffer): void {
    const before = this.#head.length
    this.#head += bytes.toString('latin1')
    const end = this.#head.indexOf('\r\n\r\n')
    if (end < 0) {
      if (this.#head.length > MAX_HEAD_BYTES) throw new AnswerHeadError('its answer has no end of headers')
      return
    }
    const { status, headers, length, keepsAlive } = parseAnswerHead(this.#head.slice(0, end))
    const rest = bytes.subarray(end + 4 - before)
    if (rest.length > (length ?? Infinity)) throw new AnswerHeadError('it sent more than it said')
    this.#keepsAlive = keepsAlive
    const body = new PeerBody({
      length,
      idleTimeout: this.#options.idleTimeout,
      buffers: this.#options.buffers,
      onRoom: () => this.#socket.resume(),
      onEnd: (error) => this.#onEnd(error),
    })
    this.#body = body
    question.answered()
    question.answer.resolve({ status, headers, body })
    if (length === undefined) this.destroy(new AnswerHeadError('its answer does not say how long it is'))
    else if (length === 0) this.#onEnd(undefined)
    else if (rest.length > 0) body.push(Buffer.from(rest))
    if (this.#body !== undefined) this.#aim(body.missing)
  }

  #onBody(body: PeerBody, count: number): void {
    const { buffers } = this.#options
    const buffer = this.#buffer
    // Little in a large buffer would keep all of it: then a copy is cheap, and the next read goes to the same place.
    if (buffer === undefined || count < buffer.length / 2) {
      body.push(Buffer.from(this.#target.subarray(0, count)))
    } else {
      this.#buffer = undefined
      body.push(buffers.lend(buffer, count))
    }
    if (this.#body !== undefined) this.#aim(body.missing)
  }

  /** Chooses where the next bytes of a body go: never more than belong to it. */
  #aim(missing: number): void {
    const { buffers } = this.#options
    this.#buffer ??= missing < MIN_POOLED ? Buffer.allocUnsafeSlow(missing) : buffers.take()
    this.#target = this.#buffer.subarray(0, missing)
  }

  #release(): void {
    if (this.#buffer !== undefined) this.#options.buffers.putBack(this.#buffer)
    this.#buffer = undefined
    this.#target = this.#headBuffer
  }

  #onEnd(error: Error | undefined): void {
    this.#question?.ended()
    this.#question = undefined
    this.#body = undefined
    this.#head = ''
    this.#wasUsed = true
    if (error !== undefined || !this.#keepsAlive) return void this.#socket.destroy()
    this.#release()
    this.#options.onFree(this)
  }

  #onClose(): void {
    const error = this.#reason ?? this.#failure ?? new Error('it closed the connection')
    const isStale = this.#wasUsed && this.#head === '' && this.#reason === undefined
    // The read that was under way has ended with the socket.
    this.#body?.fail(error)
    this.#question?.ended()
    this.#question?.answer.reject(isStale ? new StaleConnectionError(error.message, { cause: error }) : error)
    this.#question = undefined
    this.#release()
    this.#options.onClosed(this)
  }
}

/** Calls back when what has come by then was looked at once more: after a pause of this process its peers are not what is late. */
function afterPoll(ms: number, callback: () => void): NodeJS.Timeout {
  return setTimeout(() => setImmediate(callback), ms)
}
