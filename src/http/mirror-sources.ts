import type { Server } from 'node:http'
import { BlockList, type Socket, isIP } from 'node:net'

import { addressKey, isLoopbackAddress } from '../overlay/host-port.ts'
import type { Log } from '../telemetry/log.ts'
import { PacedWarnings } from '../telemetry/paced-warnings.ts'

export interface IpNetwork {
  readonly address: string
  /** How many of the first bits are those of the network. */
  readonly prefix: number
}

const REFUSED =
  "a connection to the mirror was refused, since --mirror-from does not have its address; if it was this node's own (containerd, as the network plugin shows it here), add the address"

/**
 * The addresses whose connections the mirror accepts. A mirror in a pod listens on the pod's address, and must serve its own node alone: a host
 * port brings the node's connections there, and every other pod and node reaches the address as well.
 */
export class MirrorSources {
  /** Connections that were refused since the start. */
  refused = 0
  readonly #allowed: BlockList | undefined
  readonly #warnings: PacedWarnings<'source'>

  /** `networks`: undefined for all addresses. */
  constructor(networks: readonly IpNetwork[] | undefined, log: Pick<Log, 'warn'>) {
    this.#warnings = new PacedWarnings(log)
    if (networks === undefined) return
    this.#allowed = new BlockList()
    for (const { address, prefix } of networks) this.#allowed.addSubnet(address, prefix, familyOf(address))
  }

  /** Refuses connections of other addresses before a byte of them is read. */
  guard(server: Server): void {
    if (this.#allowed === undefined) return
    server.prependListener('connection', (socket) => {
      if (this.accepts(socket)) return
      this.refused += 1
      this.#warnings.warn('source', REFUSED, () => ({ address: addressKey(socket.remoteAddress) }))
      socket.resetAndDestroy()
    })
  }

  /** Loopback and the address that is connected to are this machine, or this pod: another one cannot have them. */
  accepts({ remoteAddress, localAddress }: Pick<Socket, 'remoteAddress' | 'localAddress'>): boolean {
    if (this.#allowed === undefined) return true
    const [address = ''] = addressKey(remoteAddress).split('%')
    if (isIP(address) === 0) return false
    return (
      isLoopbackAddress(address) ||
      address === addressKey(localAddress) ||
      this.#allowed.check(address, familyOf(address))
    )
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
