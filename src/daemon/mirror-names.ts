import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, hostname, networkInterfaces } from 'node:os'

import type { IsMirror } from '../oci/reference.ts'
import { type HostPort, canonicalHost, isLoopbackAddress, parseHostPort } from '../overlay/host-port.ts'

export interface MirrorNamesOptions {
  /** The addresses of the listener, such as `127.0.0.1:7950`; read for each name. */
  readonly bound: () => readonly string[]
  readonly hostname?: () => string
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>
}

const HTTP_PORT = 80

/**
 * Whether a registry name in a reference addresses the mirror: an address that it listens on, or `localhost`. A wildcard address
 * stands for every address of this machine and for its host name.
 */
export function mirrorNames(options: MirrorNamesOptions): IsMirror {
  return (registry) => {
    const named = parseHostPort(registry, HTTP_PORT)
    if (named === undefined) return false
    // Compare ports first: most registries differ there, which saves listing the machine's addresses.
    return boundTo(options).some((bound) => bound.port === named.port && reaches(bound.host, named.host, options))
  }
}

/** Whether a host without a port names a listener: for `Host` headers, and for containerd's source labels, which have no ports. */
export function listenerHosts(options: MirrorNamesOptions): (host: string) => boolean {
  return (text) => {
    const named = parseHostPort(text, HTTP_PORT)
    const host = named && canonicalHost(named.host)
    return (
      host !== undefined && boundTo(options).some((bound) => reaches(canonicalHost(bound.host) ?? '', host, options))
    )
  }
}

function boundTo({ bound }: MirrorNamesOptions): HostPort[] {
  return bound().flatMap((text) => parseHostPort(text, HTTP_PORT) ?? [])
}

function reaches(bound: string, host: string, options: MirrorNamesOptions): boolean {
  if (bound === host) return true
  const isEverywhere = bound === '0.0.0.0' || bound === '::'
  if (host === 'localhost') return isEverywhere || isLoopbackAddress(bound)
  if (!isEverywhere) return false
  if (isIP(host) === 0) return host === (options.hostname ?? hostname)().toLowerCase()
  if (isLoopbackAddress(host)) return true
  const own = Object.values((options.interfaces ?? networkInterfaces)())
  return own.some((addresses) => addresses?.some(({ address }) => address === host))
}
