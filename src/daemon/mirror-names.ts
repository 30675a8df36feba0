import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, hostname, networkInterfaces } from 'node:os'

import type { IsMirror } from '../oci/reference.ts'
import { type HostPort, parseHostPort } from '../overlay/host-port.ts'

export interface MirrorNamesOptions {
  /** Where the mirror listens, such as `127.0.0.1:7950`; asked anew each time. */
  readonly bound: () => readonly string[]
  readonly hostname?: () => string
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>
}

const HTTP_PORT = 80

/**
 * By which names clients on this node call its mirror in a reference: the addresses that it listens on, and `localhost`. One that
 * listens everywhere goes by every address of this machine and by its host name.
 */
export function mirrorNames(options: MirrorNamesOptions): IsMirror {
  return (registry) => {
    const named = parseHostPort(registry, HTTP_PORT)
    if (named === undefined) return false
    // Compare ports first: most registries differ there, which saves listing the machine's addresses.
    return boundTo(options).some((bound) => bound.port === named.port && reaches(bound.host, named.host, options))
  }
}

/** Whether a host without port names the mirror: containerd's source labels carry no ports. */
export function mirrorHosts(options: MirrorNamesOptions): (host: string) => boolean {
  return (text) => {
    const named = parseHostPort(text, HTTP_PORT)
    return named !== undefined && boundTo(options).some((bound) => reaches(bound.host, named.host, options))
  }
}

function boundTo({ bound }: MirrorNamesOptions): HostPort[] {
  return bound().flatMap((text) => parseHostPort(text, HTTP_PORT) ?? [])
}

function reaches(bound: string, host: string, options: MirrorNamesOptions): boolean {
  if (bound === host) return true
  const isEverywhere = bound === '0.0.0.0' || bound === '::'
  if (host === 'localhost') return isEverywhere || isLoopback(bound)
  if (!isEverywhere) return false
  if (isIP(host) === 0) return host === (options.hostname ?? hostname)().toLowerCase()
  if (isLoopback(host)) return true
  const own = Object.values((options.interfaces ?? networkInterfaces)())
  return own.some((addresses) => addresses?.some(({ address }) => address === host))
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
