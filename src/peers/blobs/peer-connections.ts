import type { BufferPool } from '../../mover/buffer-pool.ts'
import { formatHostPort, type HostPort, parseHostPort } from '../../overlay/host-port.ts'
import { second } from '../../time/units.ts'
import { type PeerAnswer, PeerConnection, SlowAnswerError, StaleConnectionError } from './peer-connection.ts'

export interface BlobQuestion {
  /** `10.0.0.7:7951`. */
  readonly address: string
  /** The path with its query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** Until the answer begins, in milliseconds. */
  readonly headerTimeout: number
}

export interface PeerConnectionsOptions {
  readonly connectTimeout: number
  /** The longest silence inside a body that somebody waits for, in milliseconds. */
  readonly idleTimeout: number
  readonly buffers: BufferPool
}

/** Shorter than a peer listener's own, so that this side is the one that ends it. */
const KEEP_ALIVE = 30 * second
const MAX_FREE_PER_PEER = 4
const MAX_FREE = 64

interface Free {
  readonly connection: PeerConnection
  readonly timer: NodeJS.Timeout
}

/** Connections to peers for blobs: opened where all are in use, and kept for a while. */
export class PeerConnections {
  readonly #options: PeerConnectionsOptions
  readonly #all = new Set<PeerConnection>()
  /** The one that was used last is the last one. */
  #free: Free[] = []
  #isClosed = false

  constructor(options: PeerConnectionsOptions) {
    this.#options = options
  }

  /** Rejects with the signal's reason, PeerTimeoutError, SlowAnswerError, AnswerHeadError, or with what ended the connection. */
  async get(question: BlobQuestion, { signal }: { signal: AbortSignal }): Promise<PeerAnswer> {
    signal.throwIfAborted()
    const { address, headerTimeout } = question
    const began = performance.now()
    const request = requestText(question)
    const host = parseHostPort(address, 0)
    if (host === undefined) throw new Error(`${address} is no address`)
    const kept = this.#takeFree(formatHostPort(host))
    if (kept !== undefined) {
      try {
        return await kept.ask(request, { headerTimeout, signal })
      } catch (error) {
        if (!(error instanceof StaleConnectionError)) throw error
        signal.throwIfAborted()
      }
    }
    const left = headerTimeout - (performance.now() - began)
    if (left <= 0) throw new SlowAnswerError(`no answer within ${headerTimeout} ms`)
    return this.#open(host).ask(request, { headerTimeout: left, signal })
  }

  /** Ends all that is under way. */
  close(): void {
    this.#isClosed = true
    for (const connection of this.#all) connection.destroy(new Error('the client was closed'))
  }

  #open(host: HostPort): PeerConnection {
    if (this.#isClosed) throw new Error('the client was closed')
    const connection = new PeerConnection(host, {
      ...this.#options,
      onFree: (connection) => this.#keep(connection),
      onClosed: (connection) => {
        this.#all.delete(connection)
        this.#remove(connection)
      },
    })
    this.#all.add(connection)
    return connection
  }

  #takeFree(address: string): PeerConnection | undefined {
    const free = this.#free.findLast(({ connection }) => connection.address === address && connection.isOpen)
    if (free !== undefined) this.#remove(free.connection)
    return free?.connection
  }

  #keep(connection: PeerConnection): void {
    const { address } = connection
    const ofPeer = this.#free.filter((free) => free.connection.address === address).length
    const end = () => {
      this.#remove(connection)
      connection.destroy(new Error('nobody needed it'))
    }
    if (this.#isClosed || ofPeer >= MAX_FREE_PER_PEER || this.#free.length >= MAX_FREE) return end()
    this.#free.push({ connection, timer: setTimeout(end, KEEP_ALIVE).unref() })
  }

  #remove(connection: PeerConnection): void {
    const free = this.#free.find((free) => free.connection === connection)
    if (free === undefined) return
    clearTimeout(free.timer)
    this.#free = this.#free.filter((other) => other !== free)
  }
}

/** What is written here was made by this program; the check is for the day when that is not so. */
function requestText({ address, target, headers }: BlobQuestion): string {
  const fields = Object.entries({ host: address, ...headers })
  const isSafe = /^\/[\x21-\x7e]*$/.test(target) && fields.every(([, value]) => /^[\x20-\x7e]*$/.test(value))
  if (!isSafe) throw new Error('the request cannot be written as one')
  return `GET ${target} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}
