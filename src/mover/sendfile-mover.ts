import { OutgoingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { ByteSpan } from '../oci/range.ts'
import type { OpenBlob } from '../store/content-store.ts'
import { second } from '../time/units.ts'
import type { BandwidthShare } from './bandwidth.ts'
import { moveFile, written } from './file-mover.ts'
import type { Sendfile } from './sendfile.ts'

/** Bytes that went to a socket's descriptor past its stream, whose own count lacks them. */
export interface DirectBytes {
  count: number
}

/**
 * Writes a span of a file to a client, no faster than `share` allows, and counts in `direct` what the client's stream does not see. Throws
 * if the file ends early or the client goes.
 */
export type FileMover = (
  file: Pick<OpenBlob, 'read' | 'fd'>,
  span: ByteSpan,
  target: Writable,
  share?: BandwidthShare,
  direct?: DirectBytes,
) => Promise<void>

/** Bytes that a transfer sends before the others have their turn: some tens of microseconds. */
const BURST_BYTES = 256 * 1024
const MIN_BURST_BYTES = 64 * 1024
/** Bytes that all transfers send in one round of the event loop: a small request waits for several rounds. */
const ROUND_BYTES = 4 * 1024 * 1024
/** How far ahead it is looked whether the bytes are in memory: looking costs a part of a burst. */
const WARM_BYTES = 1024 * 1024
/** What a client takes the ordinary way when its socket is full. When it has, far more room than this is there for sendfile. */
const WAITING_BYTES = 64 * 1024
/** The interval at which the socket's idle timeout is reset. */
const TOUCH_EVERY = 1 * second

/** Sends files by sendfile where they are files and the answer is plain HTTP, and in the ordinary way otherwise. */
export function sendfileMover(calls: Sendfile): FileMover {
  let active = 0
  const burst = () => Math.max(MIN_BURST_BYTES, Math.min(BURST_BYTES, Math.floor(ROUND_BYTES / active)))
  return async (file, span, target, share, direct) => {
    if (file.fd === undefined || plainSocket(target) === undefined) return moveFile(file, span, target, share)
    active += 1
    try {
      await new Transfer(calls, file, span, target, { share, burst, direct }).run()
    } finally {
      active -= 1
    }
  }
}

interface TransferOptions {
  readonly share: BandwidthShare | undefined
  /** How many bytes it may send before the others have their turn. */
  readonly burst: () => number
  readonly direct: DirectBytes | undefined
}

class Transfer {
  readonly #calls: Sendfile
  readonly #file: Pick<OpenBlob, 'read' | 'fd'>
  readonly #target: Writable
  readonly #options: TransferOptions
  readonly #end: number
  #position: number
  /** Bytes that may be sent before the share is asked again. */
  #allowed = 0
  /** Up to here the bytes are in memory. */
  #warmTo: number
  #isCold = false
  #buffer: Buffer | undefined
  #touchedAt = performance.now()

  constructor(
    calls: Sendfile,
    file: Pick<OpenBlob, 'read' | 'fd'>,
    span: ByteSpan,
    target: Writable,
    options: TransferOptions,
  ) {
    this.#calls = calls
    this.#file = file
    this.#target = target
    this.#options = options
    this.#position = span.start
    this.#warmTo = span.start
    this.#end = span.end
  }

  async run(): Promise<void> {
    const { direct } = this.#options
    while (this.#position < this.#end) {
      if (this.#allowed === 0) await this.#ask()
      const sent = this.#send()
      if (sent === 0) await this.#sendOrdinarily()
      else {
        this.#moved(sent)
        if (direct !== undefined) direct.count += sent
        await nextTurn()
      }
    }
  }

  async #ask(): Promise<void> {
    const { share, burst } = this.#options
    const wanted = Math.min(burst(), this.#end - this.#position)
    this.#allowed = share === undefined ? wanted : await share.take(wanted)
  }

  #moved(bytes: number): void {
    this.#position += bytes
    this.#allowed -= bytes
  }

  /** Returns how many bytes went by sendfile, without waiting for anything. */
  #send(): number {
    const { fd } = this.#file
    const socket = plainSocket(this.#target)
    // What was written before must have left: its bytes come first.
    if (fd === undefined || fd < 0 || socket === undefined || this.#target.writableLength > 0) return 0
    // Asked for each time: a number that belonged to this socket a moment ago may be another client's.
    const descriptor = descriptorOf(socket)
    if (descriptor === undefined || !this.#isWarm(fd)) return 0
    const sent = this.#calls.send(descriptor, fd, this.#position, this.#allowed)
    if (sent > 0) this.#touch(socket)
    return Math.max(0, sent)
  }

  #isWarm(fd: number): boolean {
    if (this.#position + this.#allowed <= this.#warmTo) return true
    const to = Math.min(this.#position + WARM_BYTES, this.#end)
    this.#isCold = !this.#calls.isWarm(fd, to - 1)
    if (!this.#isCold) this.#warmTo = to
    return !this.#isCold
  }

  /** A full socket, a cold disk, a client that is gone, a file that has ended: the ordinary way waits, or says so. */
  async #sendOrdinarily(): Promise<void> {
    const wanted = this.#room(Math.min(this.#isCold ? BURST_BYTES : WAITING_BYTES, this.#allowed))
    const count = await this.#file.read(wanted, this.#position)
    if (count === 0) throw new Error(`the file ended at byte ${this.#position}, before byte ${this.#end}`)
    await written(this.#target, wanted.subarray(0, count))
    this.#moved(count)
  }

  #room(bytes: number): Buffer {
    if (this.#buffer === undefined || this.#buffer.length < bytes) this.#buffer = Buffer.allocUnsafeSlow(bytes)
    return this.#buffer.subarray(0, bytes)
  }

  /** Its timeout does not see what goes past it. */
  #touch(socket: Socket): void {
    const now = performance.now()
    if (now - this.#touchedAt < TOUCH_EVERY) return
    this.#touchedAt = now
    if (socket.timeout !== undefined) socket.setTimeout(socket.timeout)
  }
}

/**
 * The socket to which an answer's body may be written past everything: its headers are on their way, its length was told, nothing
 * encrypts it, and it is this answer's turn. undefined if any of this is not so.
 */
function plainSocket(target: Writable): Socket | undefined {
  if (!(target instanceof OutgoingMessage) || target.destroyed) return undefined
  const { socket } = target
  if (!(socket instanceof Socket) || socket.destroyed || 'encrypted' in socket) return undefined
  return target.headersSent && !target.chunkedEncoding ? socket : undefined
}

/** Of a socket that is open; Node does not tell it officially. */
export function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null && 'fd' in handle ? handle.fd : undefined
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}
