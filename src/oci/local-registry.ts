import { BlockList, isIP } from 'node:net'

/** Loopback (RFC 1122, RFC 4291), unspecified, which Linux connects to loopback, and link-local (RFC 3927, RFC 4291). */
const V4 = [
  ['0.0.0.0', 32],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
] as const

const V6 = [
  ['::', 127],
  ['fe80::', 10],
] as const

/** How IPv6-only networks reach IPv4 (RFC 6052): the embedded IPv4 address decides. */
const NAT64 = '64:ff9b::'
const NAT64_BITS = 96

const LIST = createList()

/**
 * True for a registry's `host[:port]` that means another machine on every node: loopback, unspecified and link-local addresses in
 * every spelling that a URL parser accepts (`127.1`, `0x7f.1`, `[::ffff:127.0.0.1]`), and `localhost` names. False for names
 * that would have to be resolved, and for text that a URL parser does not take as a host.
 */
export function isLocalRegistry(registry: string): boolean {
  if (isLocalAddress(registry)) return true
  const host = URL.parse(`https://${registry}`)
    ?.hostname.replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
  if (host === undefined) return false
  return host === 'localhost' || host.endsWith('.localhost') || isLocalAddress(host)
}

/** True for an IP address that is loopback, unspecified or link-local; false for others and for what is no IP address. */
export function isLocalAddress(address: string): boolean {
  const family = isIP(address)
  // BlockList looks up IPv4-mapped IPv6 addresses among the IPv4 networks.
  return family !== 0 && LIST.check(address, family === 6 ? 'ipv6' : 'ipv4')
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
