import { networkInterfaces } from 'node:os'

import { formatHostPort, isLoopbackAddress, parseHostPort, type HostPort } from '../overlay/host-port.ts'
import type { Node } from './node.ts'

/** The addresses of this node's mirror: of the running daemon, else of the flags. */
export async function mirrorAddresses(node: Node): Promise<readonly HostPort[]> {
  const daemon = await node.daemon()
  if (daemon.state !== 'running') return node.settings.mirrorAddr
  return daemon.listeners.mirror.flatMap((text) => parseHostPort(text, 0) ?? [])
}

/** The mirror's URL for clients on this node. */
export function mirrorUrl(addresses: readonly HostPort[]): string {
  const first = addresses[0] ?? { host: '127.0.0.1', port: 7950 }
  return `http://${formatHostPort(isWildcard(first.host) ? { ...first, host: '127.0.0.1' } : first)}`
}

/** Whether a host and port lead to one of the listeners, whatever name for this machine is used. */
export function leadsTo(target: HostPort, listeners: readonly HostPort[]): boolean {
  return listeners.some(
    ({ host, port }) =>
      port === target.port &&
      (host === target.host ||
        (isLoopback(host) && isLoopback(target.host)) ||
        (isWildcard(host) && (isLoopback(target.host) || isOwnAddress(target.host)))),
  )
}

/** The host and port of a URL, brackets and default ports resolved; undefined for an invalid URL. */
export function hostPortOf(text: string): (HostPort & { readonly protocol: string }) | undefined {
  const url = URL.parse(text)
  if (url === null || url.hostname === '') return undefined
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase(), port, protocol: url.protocol }
}

export function isOwnAddress(host: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === host) === true)
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host)
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
