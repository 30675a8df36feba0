import { BlockList, isIP } from 'node:net'

import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

import { canonicalHost, formatHostPort, type HostPort } from '../host-port.ts'

/** What one multiaddr of a node says: where its router listens, or (`/http`) where its peer listener does. */
export interface NodeAddress extends HostPort {
  readonly listener: 'router' | 'peer'
}

/** Cap on the text of a router's multiaddr, in characters: that of an IPv6 address has 61, and most names are short. */
export const MAX_ROUTER_LENGTH = 128
const MAX_HOST_LENGTH = MAX_ROUTER_LENGTH - '/dns//tcp/65535'.length

const SHAPE = /^(?:ip4|ip6|dns|dns4|dns6) tcp( http)?(?: p2p)?$/

const nowhere = new BlockList()
nowhere.addAddress('0.0.0.0', 'ipv4')
nowhere.addAddress('::', 'ipv6')

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

export function routerMultiaddr({ host, port }: HostPort): Multiaddr {
  const family = isIP(host)
  return multiaddr(`/${family === 0 ? 'dns' : `ip${family}`}/${host}/tcp/${port}`)
}

export function peerMultiaddr(address: HostPort): Multiaddr {
  return routerMultiaddr(address).encapsulate('/http')
}

/**
 * Reads a multiaddr of one of a node's listeners; undefined for anything else. IPv4 in IPv6 becomes IPv4. The host is an IP address or a DNS
 * name: libp2p reads a name from any bytes, and throws when it writes one with a slash.
 */
export function parseNodeAddress(address: Multiaddr): NodeAddress | undefined {
  const components = address.getComponents()
  const match = SHAPE.exec(components.map((component) => component.name).join(' '))
  const [host, port] = [components[0]?.value, Number(components[1]?.value)]
  if (match === null || host === undefined || !(port > 0)) return undefined
  const read = { host: unmapped(host), port }
  if (read.host.length > MAX_HOST_LENGTH || canonicalHost(read.host) === undefined) return undefined
  return { ...read, listener: match[1] === undefined ? 'router' : 'peer' }
}

/** Reads the text of a router's multiaddr, without a peer id; undefined for anything else. */
export function parseRouter(text: string): Multiaddr | undefined {
  try {
    const parsed = text.length > MAX_ROUTER_LENGTH ? undefined : parseNodeAddress(multiaddr(text))
    return parsed?.listener === 'router' ? routerMultiaddr(parsed) : undefined
  } catch {
    return undefined
  }
}

/**
 * Where the peer listener of a connected node is, from what it announces and where it is connected from; empty if it
 * announces none. The address family of the connection comes first: that one is known to work.
 */
export function peerAddresses(announced: readonly Multiaddr[], remote: Multiaddr): readonly string[] {
  return reachable(announced, remote, 'peer').map(formatHostPort)
}

/** Where a connected node's router can be dialled, best first. */
export function routerAddresses(announced: readonly Multiaddr[], remote: Multiaddr): readonly Multiaddr[] {
  return reachable(announced, remote, 'router').map(routerMultiaddr)
}

/** A node on another machine that calls itself loopback or unspecified means the address that it is connected from. */
function reachable(
  announced: readonly Multiaddr[],
  remote: Multiaddr,
  listener: NodeAddress['listener'],
): readonly HostPort[] {
  const from = parseNodeAddress(remote)?.host
  if (from === undefined) return []
  const seen = new Map<string, HostPort>()
  for (const address of announced) {
    const parsed = parseNodeAddress(address)
    if (parsed?.listener !== listener) continue
    const host =
      isIn(nowhere, parsed.host) || (isIn(loopback, parsed.host) && !isIn(loopback, from)) ? from : parsed.host
    const target = { host, port: parsed.port }
    seen.set(formatHostPort(target), target)
  }
  const rank = ({ host }: HostPort) => (host === from ? 0 : isIP(host) === isIP(from) ? 1 : 2)
  return [...seen.values()].sort((a, b) => rank(a) - rank(b))
}

function isIn(list: BlockList, host: string): boolean {
  const family = isIP(host)
  return family !== 0 && list.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

function unmapped(host: string): string {
  const match = /^::ffff:(.+)$/i.exec(host)
  if (match?.[1] === undefined || isIP(host) !== 6) return host
  if (isIP(match[1]) === 4) return match[1]
  const groups = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(match[1])
  if (groups === null) return host
  const [high, low] = [Number.parseInt(groups[1] ?? '', 16), Number.parseInt(groups[2] ?? '', 16)]
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}
