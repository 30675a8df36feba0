import { isIP } from 'node:net'

import { bareHost, createNetworkList, isLocalhostName } from './hosts.ts'

/** Loopback (RFC 1122, RFC 4291), unspecified, which Linux connects to loopback, and link-local (RFC 3927, RFC 4291). */
const LOCAL_NETWORKS = createNetworkList({
  v4: [
    ['0.0.0.0', 32],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
  ],
  v6: [
    ['::', 127],
    ['fe80::', 10],
  ],
})

/**
 * True for a registry's `host[:port]` that means a different machine on every node: loopback, unspecified and link-local addresses in
 * every spelling that a URL parser accepts (`127.1`, `0x7f.1`, `[::ffff:127.0.0.1]`), and `localhost` names. False for names
 * that need DNS, and for text that a URL parser does not accept as a host.
 */
export function isLocalRegistry(registry: string): boolean {
  if (isLocalAddress(registry)) return true
  const hostname = URL.parse(`https://${registry}`)?.hostname
  if (hostname === undefined) return false
  const host = bareHost(hostname)
  return isLocalhostName(host) || isLocalAddress(host)
}

/** True for an IP address that is loopback, unspecified or link-local; false for other addresses and for names. */
export function isLocalAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && LOCAL_NETWORKS.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
