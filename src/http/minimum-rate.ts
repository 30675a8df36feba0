import type { ServerResponse } from 'node:http'

import type { DirectBytes } from '../mover/sendfile-mover.ts'
import { second } from '../time/units.ts'

/** The slowest rate at which a client may take an answer. */
export interface MinimumRate {
  readonly bytesPerSecond: number
  /** How long a client may take nothing, in milliseconds; a slow client is tolerated for longer. */
  readonly window: number
}

/**
 * A peer below 64 KiB/s is no use to its own client, and one that has stopped gives its upload slot back after 30 s instead of the socket
 * timeout of 5 minutes. The product, 1.9 MiB, must exceed what the kernel asks for at once: it reports room in a send buffer when a third is
 * free, which is 1.4 MiB of Linux's default maximum (`tcp_wmem`).
 */
export const PEER_MINIMUM_RATE: MinimumRate = { bytesPerSecond: 64 * 1024, window: 30 * second }

/** Looks per window: a client counts as slow only if bytes wait for it at several looks in a row. */
const LOOKS = 6

class SlowClientError extends Error {
  override readonly name = 'SlowClientError'
}

/**
 * Calls back when the client of an answer stays below a minimum rate while bytes wait for it. A look that finds no waiting byte clears the
 * client's debt: then this node is the slow part (a bandwidth limit, a disk, content that is still arriving). One timer per answer, and no
 * work per chunk.
 */
export class RateWatch {
  /** Counted by the mover. */
  readonly direct: DirectBytes = { count: 0 }
  readonly #response: ServerResponse
  readonly #rate: MinimumRate
  readonly #onSlow: (error: SlowClientError) => void
  readonly #timer: NodeJS.Timeout
  /** Bytes by which the client is below the minimum rate. */
  #owed = 0
  #taken: number

  constructor(response: ServerResponse, rate: MinimumRate, onSlow: (error: SlowClientError) => void) {
    this.#response = response
    this.#onSlow = onSlow
    this.#rate = rate
    this.#taken = this.#countTaken()
    this.#timer = setInterval(() => this.#look(), rate.window / LOOKS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const { bytesPerSecond, window } = this.#rate
    const [before, taken] = [this.#taken, this.#countTaken()]
    this.#taken = taken
    // Per look, not by a clock: an event loop that was blocked is not the client's slowness. Never below 0: a fast start earns no pause.
    const due = (bytesPerSecond * window) / second / LOOKS
    this.#owed = this.#response.writableLength === 0 ? 0 : Math.max(0, this.#owed + due - (taken - before))
    if (this.#owed < due * LOOKS) return
    this.stop()
    this.#onSlow(
      new SlowClientError(`the client took less than ${bytesPerSecond} bytes a second for ${window / second} s`),
    )
  }

  /** Bytes of this connection that the kernel has accepted. A pipelined request has no response socket before its turn. */
  #countTaken(): number {
    const { socket } = this.#response.req
    return socket.bytesWritten - socket.writableLength + this.direct.count
  }
}
