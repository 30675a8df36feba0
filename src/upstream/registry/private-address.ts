import { isIP } from 'node:net'

import { bareHost, createNetworkList, isLocalhostName } from '../../oci/hosts.ts'

/** Networks outside the public Internet (RFC 6890): private, shared, loopback, link-local, multicast, reserved. */
const PRIVATE_NETWORKS = createNetworkList({
  v4: [
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
  ],
  v6: [
    ['::', 127],
    ['fc00::', 7],
    ['fe80::', 10],
    ['fec0::', 10],
    ['ff00::', 8],
  ],
})

/** True for an IP address that no public name should resolve to, and for text that is no IP address. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address)
  return family === 0 || PRIVATE_NETWORKS.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** True for a URL's host that is a `localhost` name, or an IP address that `matches`. Resolves no names. */
export function isLocalhostOr(matches: (address: string) => boolean, hostname: string): boolean {
  const host = bareHost(hostname)
  return isIP(host) === 0 ? isLocalhostName(host) : matches(host)
}
