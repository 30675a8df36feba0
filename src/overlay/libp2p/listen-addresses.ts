import { isIP } from 'node:net'

import { CODE_P2P, type Multiaddr } from '@multiformats/multiaddr'

import type { HostPort } from '../host-port.ts'
import { parseNodeAddress, peerMultiaddr, routerMultiaddr } from './addresses.ts'

/**
 * What the transport is to listen on. `::` means IPv4 too, by a socket of its own: libp2p then shrugs off a machine without
 * IPv6, and no address comes as IPv4 in IPv6.
 */
export function listenMultiaddrs(listen: readonly HostPort[]): string[] {
  const expanded = listen.flatMap(({ host, port }) => {
    const taken = listen.some((other) => isIP(other.host) === 4 && other.port === port && port !== 0)
    return host === '::' && !taken
      ? [
          { host: '0.0.0.0', port },
          { host, port },
        ]
      : [{ host, port }]
  })
  return expanded.map((address) => routerMultiaddr(address).toString())
}

/**
 * What peers are told: the router at every advertised host, and the peer listener there. `bound` are the transports'
 * addresses: they know the ports that the system chose.
 */
export function announcement(
  options: { advertise: readonly string[]; peerPort: number },
  bound: readonly Multiaddr[],
): Multiaddr[] {
  const listeners = bound.flatMap((address) => parseNodeAddress(address.decapsulateCode(CODE_P2P)) ?? [])
  return options.advertise.flatMap((host) => {
    const family = isIP(host)
    const fitting = listeners.filter((listener) => family === 0 || isIP(listener.host) === family)
    const ports = new Set((fitting.length > 0 ? fitting : listeners).map((listener) => listener.port))
    return [
      ...[...ports].map((port) => routerMultiaddr({ host, port })),
      peerMultiaddr({ host, port: options.peerPort }),
    ]
  })
}
