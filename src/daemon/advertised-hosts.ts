import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'

import type { AdvertisedPort, ListenAddress, ServeConfig, ServeFlags } from '../config/serve-config.ts'
import { type HostPort, canonicalHost, formatHostPort, isLoopbackHost } from '../overlay/host-port.ts'
import { abortable } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** Addresses set aside for documentation: a datagram socket that is connected to one learns its own address and sends nothing. */
const ELSEWHERE = { udp4: '192.0.2.1', udp6: '2001:db8::1' } as const
const LOOPBACK = '127.0.0.1'

/** Finds the advertised hosts that no flag names, and resolves the listeners on `advertise:<port>`. */
export async function resolveAddresses(flags: ServeFlags): Promise<ServeConfig> {
  const { advertiseAddr, peerAddr } = flags
  return onAdvertisedHosts(flags, advertiseAddr.length > 0 ? advertiseAddr : await findAdvertisedHosts(peerAddr))
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
 * What peers are told when no flag says it: the addresses that are listened on if all are fixed, else those of the default routes, else
 * loopback. They are looked up once.
 */
async function findAdvertisedHosts(peerAddr: ServeFlags['peerAddr']): Promise<readonly string[]> {
  const listening = peerAddr.flatMap((address) => ('host' in address ? [address] : []))
  const hosts = listening.map(({ host }) => (isLoopbackHost(host) && isIP(host) === 0 ? LOOPBACK : host))
  const fixed = hosts.filter((host) => isIP(host) !== 0 && !isUnspecified(host))
  if (fixed.length === peerAddr.length) return fixed
  const found = await Promise.all([localAddress('udp4'), localAddress('udp6')])
  const routed = found.filter((host) => host !== undefined)
  return routed.length === 0 ? [LOOPBACK] : routed
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || /^[0:]+$/.test(host)
}

async function localAddress(type: 'udp4' | 'udp6'): Promise<string | undefined> {
  const socket = createSocket(type)
  const connected = new Promise<string>((resolve, reject) => {
    socket.once('error', reject)
    socket.connect(9, ELSEWHERE[type], () => resolve(socket.address().address))
  })
  try {
    return await abortable(connected, AbortSignal.timeout(second))
  } catch {
    // No route in this address family.
    return undefined
  } finally {
    socket.close()
  }
}
