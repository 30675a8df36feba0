import { BlockList, isIP } from 'node:net'

/** Not of the public Internet (RFC 6890): private, shared, loopback, link-local, multicast, reserved. */
const V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const

const V6 = [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const

/** How IPv6-only networks reach IPv4 (RFC 6052): what stands behind it decides. */
const NAT64 = '64:ff9b::'
const NAT64_BITS = 96

const LIST = createList()

/** True for an IP address that no public name should lead to. What is no IP address counts as one. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 0) return true
  return LIST.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** True for a URL's host that is a name for this machine, or an IP address that `matches`. Nothing is resolved. */
export function isLocalhostOr(matches: (address: string) => boolean, hostname: string): boolean {
  const host = bareHost(hostname)
  if (isIP(host) !== 0) return matches(host)
  return host === 'localhost' || host.endsWith('.localhost')
}

/** A URL's `hostname` without the brackets of IPv6 and without the dot that ends a fully qualified name. */
export function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}

function createList(): BlockList {
  const list = new BlockList()
  for (const [net, bits] of V4) {
    list.addSubnet(net, bits, 'ipv4')
    list.addSubnet(NAT64 + net, NAT64_BITS + bits, 'ipv6')
  }
  for (const [net, bits] of V6) list.addSubnet(net, bits, 'ipv6')
  return list
}
