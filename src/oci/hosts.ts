import { BlockList } from 'node:net'

/** A network: its first address, and the length of its prefix in bits. */
type Network = readonly [address: string, bits: number]

/** IPv6-only networks reach an IPv4 address through this prefix (RFC 6052): the embedded IPv4 address decides. */
const NAT64 = '64:ff9b::'
const NAT64_BITS = 96

/**
 * A list of networks. It also holds the NAT64 form of each IPv4 network; `BlockList` itself looks up IPv4-mapped IPv6 addresses among the
 * IPv4 networks.
 */
export function createNetworkList(networks: { v4: readonly Network[]; v6: readonly Network[] }): BlockList {
  const list = new BlockList()
  for (const [address, bits] of networks.v4) {
    list.addSubnet(address, bits, 'ipv4')
    list.addSubnet(NAT64 + address, NAT64_BITS + bits, 'ipv6')
  }
  for (const [address, bits] of networks.v6) list.addSubnet(address, bits, 'ipv6')
  return list
}

/** A URL's `hostname` in lower case, without the brackets of an IPv6 address and without the final dot of a fully qualified name. */
export function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}

/** True for `localhost` and every name under it (RFC 6761). `host`: as {@link bareHost} returns it. */
export function isLocalhostName(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost')
}
