import type { RequestListener, Server } from 'node:http'

import { drain, listen } from '../http/bind.ts'
import type { OpenRequests } from '../http/open-requests.ts'
import { PEER_LIMITS, createHttpServer } from '../http/server.ts'
import type { ListenAddress } from '../config/serve-config.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import type { AddressBinder } from './address-binder.ts'
import { listenOnSocket } from './admin-socket.ts'

export type ListenerName = 'mirror' | 'peer' | 'admin' | 'metrics'
/** The applications by listener; `operator` is that of the Unix socket. */
export type Apps = Readonly<Record<ListenerName | 'operator', RequestListener>>

/** What limits the connections of a listener; absent for no limit. */
type ConnectionGuards = Readonly<Partial<Record<'peer' | 'mirror', { guard(server: Server): void }>>>

/** The daemon's HTTP servers. They bind first and answer once {@link Listeners.serve} has given them their applications. */
export class Listeners {
  /** The bound addresses, with their ports. */
  readonly bound: Record<ListenerName, string[]> = { mirror: [], peer: [], admin: [], metrics: [] }
  readonly #servers: { readonly name: keyof Apps; readonly server: Server }[] = []
  readonly #open: OpenRequests
  readonly #guards: ConnectionGuards
  readonly #binder: Pick<AddressBinder, 'bind'>
  readonly #ready = Promise.withResolvers<Apps>()
  #apps: Apps | undefined
  #removeSocket: () => Promise<void> = async () => {}

  constructor(open: OpenRequests, guards: ConnectionGuards = {}, binder?: Pick<AddressBinder, 'bind'>) {
    this.#open = open
    this.#guards = guards
    this.#binder = binder ?? { bind: (_listener, _address, attempt) => attempt().then(() => true) }
  }

  /** Binds the addresses of one listener, those that come late too; returns the port of the last one. Throws ListenError. */
  async open(name: ListenerName, addresses: readonly ListenAddress[]): Promise<number> {
    let last = 0
    for (const address of addresses) {
      const server = this.#create(name)
      last = address.port
      await this.#binder.bind(name, address, async () => {
        const taken = await listen(server, address, `--${name}-addr`)
        this.#servers.push({ name, server })
        this.bound[name].push(formatHostPort(taken))
        last = taken.port
      })
    }
    return last
  }

  /** Listens on the Unix socket of the operator. Throws an Error with one sentence for the operator. */
  async openSocket(path: string): Promise<void> {
    const server = this.#create('operator')
    this.#removeSocket = await listenOnSocket(server, path)
    this.#servers.push({ name: 'operator', server })
  }

  /** Answers all requests from now on, those that already wait included. */
  serve(apps: Apps): void {
    this.#apps = apps
    this.#ready.resolve(apps)
  }

  /**
   * Content: takes no new connections; resolves when the answers under way have ended. The admin and metrics listeners answer until
   * {@link Listeners.close}, since probes and commands go on while transfers end.
   */
  async drain(): Promise<void> {
    const content = this.#servers.filter(({ name }) => name === 'mirror' || name === 'peer')
    await Promise.all(content.map(({ server }) => drain(server)))
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    await this.#removeSocket().catch(() => {})
    for (const { server } of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }

  #create(name: keyof Apps): Server {
    const route: RequestListener = (request, response) => {
      if (this.#apps !== undefined) return this.#apps[name](request, response)
      const arrived = this.#open.add(request.socket, () => {})
      void this.#ready.promise.then((apps) => {
        arrived()
        apps[name](request, response)
      })
    }
    const server = createHttpServer(route, this.#open, name === 'peer' ? PEER_LIMITS : undefined)
    if (name === 'peer' || name === 'mirror') this.#guards[name]?.guard(server)
    return server
  }
}
