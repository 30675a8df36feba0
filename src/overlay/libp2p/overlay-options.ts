import type { ConnectionGater, PrivateKey } from '@libp2p/interface'

import type { BootstrapSource } from '../bootstrap/bootstrap-source.ts'
import type { HostPort } from '../host-port.ts'
import type { RefusedNode } from '../refused-nodes.ts'

/** What a libp2p overlay is told; all of it parsed already. */
export interface Libp2pOverlayOptions {
  /** Where the router listens. `::` takes IPv4 as well; port 0 takes a free one. */
  readonly listen: readonly HostPort[]
  /** Binds an address of `listen` by a call that throws ListenError, now or later; at once if absent. */
  readonly bind?: BindRouter
  /** The hosts at which peers are told to find this node, the preferred one first; at least one. */
  readonly advertise: readonly string[]
  /** The port of this node's peer listener. */
  readonly peerPort: number
  readonly bootstrap: BootstrapSource
  /** The router addresses of members, kept from one process to the next. */
  readonly kept?: KeptRouters
  /** The keys that members prove to know, the preferred one first; a second one is accepted. None: everybody may join. */
  readonly overlayKeys?: readonly Uint8Array[]
  readonly identity: PrivateKey
  /** Above this many connections the overlay asks the DHT instead of knowing everybody. */
  readonly maxConnections: number
  /** Limits the inbound connections before their handshake; with the default limits if absent. */
  readonly pending?: ConnectionGater
  /** Called for each connection with a node of Nabo that cannot be a member. */
  readonly onRefused?: (refused: RefusedNode) => void
  readonly log: OverlayLog
}

export interface KeptRouters {
  /** The multiaddrs that the last process left, the latest first. */
  readonly routers: readonly string[]
  /** Takes the latest list. */
  save(routers: readonly string[]): void
}

/** `attempt` resolves with the address, whose port the system may have chosen. */
export type BindRouter = (address: HostPort, attempt: () => Promise<HostPort>) => Promise<unknown>

/** The slice of a pino logger that the overlay writes to. */
export interface OverlayLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}
