import type { ServerResponse } from 'node:http'

export interface BodyLimits {
  /** Bytes of the bodies of the open requests from one address, and from all. */
  readonly perAddress: number
  readonly total: number
}

/** The bytes that the bodies of open requests may take. Fastify keeps a body until it is whole. */
export class BodyBudget {
  readonly #limits: BodyLimits
  readonly #byAddress = new Map<string, number>()
  #bytes = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /** Takes the bytes of one request's body until its answer has ended; false, and takes nothing, if there is no room. */
  take(response: ServerResponse, bytes: number): boolean {
    const address = response.req.socket.remoteAddress ?? ''
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
