import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'

import { type StrangerRefusal, type StrangerLimits, StrangerTable } from '../../strangers/stranger-table.ts'
import type { OverlayLog } from './overlay-options.ts'

const LIMITS: StrangerLimits = {
  // Many nodes may have one address (NAT, or a lab on loopback) and start at once; a node that is cut off dials again.
  perAddress: 128,
  // A pending connection holds some tens of KiB for 5 s at most; 512 nodes that start at once are more than dial one node.
  total: 512,
}

/**
 * The inbound connections of the router that are not encrypted yet. The handshake proves the cluster secret, so these are strangers'. At a
 * limit the oldest is aborted: libp2p would refuse the new one, so that idle connections would keep new nodes out.
 */
export class PendingConnections implements ConnectionGater {
  readonly #table: StrangerTable<MultiaddrConnection>

  constructor({ log, limits = LIMITS }: { log: Pick<OverlayLog, 'warn'>; limits?: StrangerLimits }) {
    this.#table = new StrangerTable({
      listener: 'router',
      limits,
      log,
      isIdle: () => true,
      close: (connection) => connection.abort(new Error('too many connections are pending')),
    })
  }

  get size(): number {
    return this.#table.size
  }

  get refused(): Readonly<Record<StrangerRefusal, number>> {
    return this.#table.refused
  }

  /** Why members possibly could not connect in the last 10 s; undefined if they could. */
  whyClosedToMembers(): string | undefined {
    return this.#table.keepsMembersOut()
      ? 'the router aborts connections of members, since strangers open too many: the log names their address'
      : undefined
  }

  /** Called by libp2p for each new connection. */
  denyInboundConnection(connection: MultiaddrConnection): boolean {
    if (!this.#table.admit(connection, ipAddressOf(connection))) return true
    connection.addEventListener('close', () => this.#table.remove(connection))
    return false
  }

  /** Called by libp2p when the handshake has succeeded. */
  denyInboundEncryptedConnection(_peer: PeerId, connection: MultiaddrConnection): boolean {
    this.#table.remove(connection)
    return false
  }
}

function ipAddressOf({ remoteAddr }: MultiaddrConnection): string | undefined {
  return remoteAddr.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value
}
