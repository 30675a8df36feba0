import { isIP } from 'node:net'

import { isLocalhostName } from '../oci/hosts.ts'

export interface HostPort {
  /** An IP address without brackets, or a name. */
  readonly host: string
  readonly port: number
}

// https://www.rfc-editor.org/rfc/rfc1123#section-2.1, with the underscores that cluster DNS knows
const NAME =
  /^(?=.{1,253}\.?$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i

/** `10.0.0.7:7951`, `[fd00::7]:7951`. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** Reads `host`, `host:port`, `[v6]:port` or a bare IPv6 address; undefined for anything else. Port 0 is none. */
export function parseHostPort(text: string, defaultPort: number): HostPort | undefined {
  if (isIP(text) === 6) return { host: text, port: defaultPort }
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text)
  if (match === null) return undefined
  const [, v6, host = v6 ?? '', digits] = match
  if (v6 === undefined ? !isHost(host) : isIP(v6) !== 6) return undefined
  const port = digits === undefined ? defaultPort : Number(digits)
  return port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** Whether an IP address, without brackets, is 127.0.0.0/8 or `::1`. False for names. */
export function isLoopbackAddress(text: string): boolean {
  return text === '::1' || (isIP(text) === 4 && text.startsWith('127.'))
}

/** Whether an IP address, without brackets, is 0.0.0.0 or `::` in any spelling: every address of a machine that listens, and none to connect to. */
export function isUnspecifiedAddress(text: string): boolean {
  return text === '0.0.0.0' || (isIP(text) === 6 && ['::', '0.0.0.0'].includes(canonicalHost(text) ?? ''))
}

/** Whether a host to listen on is loopback: 127.0.0.0/8, `::1`, or a `localhost` name (RFC 6761). */
export function isLoopbackHost(host: string): boolean {
  const canonical = canonicalHost(host)
  return canonical !== undefined && (isLoopbackAddress(canonical) || isLocalhostName(canonical))
}

/** Whether a text is an IPv4 address or a name; digits and dots alone must be an address. */
function isHost(text: string): boolean {
  return isIP(text) === 4 || (NAME.test(text) && !/^[\d.]+$/.test(text))
}

/**
 * One spelling of a host name or address, without its port: lower case, no trailing dot, IPv6 in its shortest form (RFC 5952), an
 * IPv4-mapped address as IPv4. undefined for anything else, such as an address with a zone.
 */
export function canonicalHost(text: string): string | undefined {
  const host = text.toLowerCase()
  if (isIP(host) !== 6) return isHost(host) ? host.replace(/\.$/, '') : undefined
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(host)?.[1]
  return mapped ?? URL.parse(`http://[${host}]`)?.hostname.slice(1, -1)
}

/**
 * The IP address of the other end of a connection, as a key for limits: one spelling, since a listener on `[::]` sees IPv4 clients as
 * `::ffff:192.0.2.1`. Empty for a connection that has ended.
 */
export function addressKey(remoteAddress = ''): string {
  return canonicalHost(remoteAddress) ?? remoteAddress
}
