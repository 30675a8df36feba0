import { isIP } from 'node:net'

import type { AdvertisedPort, ListenAddress, ServeConfig, ServeFlags } from '../config/serve-config.ts'
import {
  type HostPort,
  canonicalHost,
  formatHostPort,
  isLoopbackHost,
  isUnspecifiedAddress,
} from '../overlay/host-port.ts'
import { isOnThisMachine } from './exposure.ts'
import { NoAddressError, findOwnAddresses } from './own-addresses.ts'

const LOOPBACK = '127.0.0.1'

/**
 * Finds the advertised hosts that no flag names, and resolves the listeners on `advertise:<port>`. Throws an Error with one sentence for the
 * operator if this machine has no address that other nodes could use, or if a flag names one that they cannot use.
 */
export async function resolveAddresses(flags: ServeFlags): Promise<ServeConfig> {
  const { advertiseAddr } = flags
  const config = onAdvertisedHosts(flags, advertiseAddr.length > 0 ? advertiseAddr : await findAdvertisedHosts(flags))
  refuseLoopback(config)
  return config
}

/** Other machines would send requests to themselves. Daemons on one machine may form a cluster over loopback. */
function refuseLoopback({ advertiseAddr, bootstrap, clusterSecretFile, insecureWithoutSecret }: ServeConfig): void {
  // Without a secret the listeners are on loopback, and `refuseExposure` has more to say.
  if (clusterSecretFile === undefined && !insecureWithoutSecret) return
  if (!advertiseAddr.every(isLoopbackHost)) return
  if (bootstrap.type !== 'static' || bootstrap.targets.every(isOnThisMachine)) return
  throw new NoAddressError(
    `--bootstrap names other machines, but ${advertiseAddr.join(', ')}, which they would be told, is loopback: set --advertise-addr, or --peer-addr, to an address of this machine in their network`,
  )
}

/** Resolves the listeners on `advertise:<port>` to these hosts; loopback if there are none. */
export function onAdvertisedHosts(flags: ServeFlags, [first = LOOPBACK, ...others]: readonly string[]): ServeConfig {
  const { mirrorAddr, peerAddr, routerAddr, adminAddr, metricsAddr } = flags
  const hosts = [first, ...others] as const
  return {
    ...flags,
    advertiseAddr: hosts,
    mirrorAddr: withoutCovered(mirrorAddr),
    adminAddr: withoutCovered(adminAddr),
    peerAddr: onHosts(peerAddr, hosts),
    routerAddr: onHosts(routerAddr, hosts),
    metricsAddr: onHosts(metricsAddr, hosts),
  }
}

/** An address that two flags name is listened on once. */
function onHosts(addresses: readonly (HostPort | AdvertisedPort)[], hosts: readonly string[]): ListenAddress[] {
  const all = addresses.flatMap((address): ListenAddress[] =>
    'host' in address
      ? [address]
      : hosts.map((host) => ({ host, port: address.advertisedPort, mayComeLate: true as const })),
  )
  const isRepeated = (address: ListenAddress, at: number) =>
    address.port !== 0 && all.findIndex((other) => formatHostPort(other) === formatHostPort(address)) < at
  return withoutCovered(all.filter((address, at) => !isRepeated(address, at)))
}

/**
 * Without the addresses that a wildcard on the same port includes: the second socket would find the port taken by the first. `[::]` is dual-stack
 * (`http/bind.ts`, `overlay/libp2p/listen-addresses.ts`). Names stay, since the guard of the mirror accepts them as `Host`.
 */
function withoutCovered<T extends HostPort>(addresses: readonly T[]): T[] {
  const hasWildcard = (wildcard: string, { host, port }: T) =>
    canonicalHost(host) !== wildcard &&
    addresses.some((other) => other.port === port && canonicalHost(other.host) === wildcard)
  return addresses.filter((address) => {
    const family = address.port === 0 ? 0 : isIP(address.host)
    return family === 0 || !(hasWildcard('::', address) || (family === 4 && hasWildcard('0.0.0.0', address)))
  })
}

/**
 * What peers are told when no flag says it: the addresses that are listened on if all are fixed, else {@link findOwnAddresses}. They are
 * looked up once.
 */
async function findAdvertisedHosts(flags: ServeFlags): Promise<readonly string[]> {
  const { peerAddr } = flags
  const listening = peerAddr.flatMap((address) => ('host' in address ? [address] : []))
  const hosts = listening.map(({ host }) => (isLoopbackHost(host) && isIP(host) === 0 ? LOOPBACK : host))
  const fixed = hosts.filter((host) => isIP(host) !== 0 && !isUnspecifiedAddress(host))
  return fixed.length === peerAddr.length ? fixed : findOwnAddresses(flags)
}
