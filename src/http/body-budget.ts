import type { ServerResponse } from 'node:http'

import { addressKey } from '../overlay/host-port.ts'

export interface BodyLimits {
  /** Bytes of the bodies of the open requests from one IP address. */
  readonly perAddress: number
  /** Bytes of the bodies of all open requests. */
  readonly total: number
}

/** Limits the memory that the bodies of open requests take: Fastify keeps a body until it is whole. */
export class BodyBudget {
  readonly #limits: BodyLimits
  readonly #byAddress = new Map<string, number>()
  #bytes = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /** Reserves the bytes of one request's body until its answer has ended; returns false, and reserves nothing, at a limit. */
  take(response: ServerResponse, bytes: number): boolean {
    const address = addressKey(response.req.socket.remoteAddress)
    const held = this.#byAddress.get(address) ?? 0
    if (held + bytes > this.#limits.perAddress || this.#bytes + bytes > this.#limits.total) return false
    this.#byAddress.set(address, held + bytes)
    this.#bytes += bytes
    response.once('close', () => this.#giveBack(address, bytes))
    return true
  }

  #giveBack(address: string, bytes: number): void {
    this.#bytes -= bytes
    const left = (this.#byAddress.get(address) ?? bytes) - bytes
    if (left > 0) this.#byAddress.set(address, left)
    else this.#byAddress.delete(address)
  }
}
