import { isIP } from 'node:net'

import { CODE_P2P, type Multiaddr } from '@multiformats/multiaddr'

import type { HostPort } from '../host-port.ts'
import { parseNodeAddress, peerMultiaddr, routerMultiaddr } from './addresses.ts'

/**
 * What the transport is to listen on for one address of `all`. `::` means IPv4 too, by a socket of its own: libp2p then shrugs off a machine
 * without IPv6, and no address comes as IPv4 in IPv6.
 */
export function transportAddresses({ host, port }: HostPort, all: readonly HostPort[]): Multiaddr[] {
  const isTaken = all.some((other) => isIP(other.host) === 4 && other.port === port && port !== 0)
  const hosts = host === '::' && !isTaken ? ['0.0.0.0', host] : [host]
  return hosts.map((one) => routerMultiaddr({ host: one, port }))
}

/**
 * What peers are told: the router at every advertised host, and the peer listener there. `bound` are the transports'
 * addresses: they know the ports that the system chose. While there are none, the ports of `listen` count.
 */
export function announcement(
  options: { listen: readonly HostPort[]; advertise: readonly string[]; peerPort: number },
  bound: readonly Multiaddr[],
): Multiaddr[] {
  const opened = bound.flatMap((address) => parseNodeAddress(address.decapsulateCode(CODE_P2P)) ?? [])
  const listeners = opened.length > 0 ? opened : options.listen.filter(({ port }) => port !== 0)
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
