import type { Server } from 'node:http'

import { drain, listen } from '../http/bind.ts'
import { type Exchange, type FinishedExchange, createListener } from '../http/exchange.ts'
import { type HostPort, formatHostPort } from '../overlay/host-port.ts'
import type { Log } from '../telemetry/log.ts'

export type ListenerName = 'mirror' | 'peer' | 'admin' | 'metrics'
export type Handlers = Readonly<Record<ListenerName, (exchange: Exchange) => Promise<void>>>

/** The daemon's HTTP servers. They bind first and answer once {@link Listeners.serve} has given them their handlers. */
export class Listeners {
  /** The addresses that were taken. */
  readonly bound: Record<ListenerName, string[]> = { mirror: [], peer: [], admin: [], metrics: [] }
  readonly #servers: Server[] = []
  readonly #handlers = Promise.withResolvers<Handlers>()
  readonly #finished: (name: ListenerName, exchange: FinishedExchange) => void
  readonly #log: Log

  constructor(options: { finished: (name: ListenerName, exchange: FinishedExchange) => void; log: Log }) {
    this.#finished = options.finished
    this.#log = options.log
  }

  /** Binds; returns the port of the last address. Throws an Error with one sentence for the operator. */
  async open(name: ListenerName, addresses: readonly HostPort[]): Promise<number> {
    let port = 0
    for (const address of addresses) {
      const server = createListener({
        handle: async (exchange) => (await this.#handlers.promise)[name](exchange),
        finished: (exchange) => this.#finished(name, exchange),
        log: this.#log,
      })
      const taken = await listen(server, address, `--${name}-addr`)
      this.#servers.push(server)
      this.bound[name].push(formatHostPort(taken))
      port = taken.port
    }
    return port
  }

  serve(handlers: Handlers): void {
    this.#handlers.resolve(handlers)
  }

  /** Takes no new connections; resolves when the answers under way have ended. */
  async drain(): Promise<void> {
    await Promise.all(this.#servers.map(drain))
  }

  /** Ends every connection. */
  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}
