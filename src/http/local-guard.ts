import { isIP } from 'node:net'

import type { onRequestHookHandler } from 'fastify'

import { OciError } from '../oci/errors.ts'
import { isLoopbackAddress, parseHostPort } from '../overlay/host-port.ts'

export interface LocalGuardOptions {
  /** Whether a host name or address, without a port, is one by which clients address this listener. */
  readonly isOwnHost: (host: string) => boolean
  /** Paths that are open to every client, such as probes. */
  readonly exempt?: readonly string[]
}

const LOOPBACK_NAMES = new Set(['localhost', 'localhost.localdomain', 'ip6-localhost', 'ip6-loopback'])
const HTTP_PORT = 80
const MAX_SHOWN = 100

/**
 * A hook that refuses what a page in a browser sends to a loopback listener. A page reaches it by DNS rebinding, which shows in `Host`
 * (https://crypto.stanford.edu/dns/dns-rebinding.pdf), or across sites, which browsers state in `Sec-Fetch-Site` and `Origin`.
 */
export function guardLocal({ isOwnHost, exempt = [] }: LocalGuardOptions): onRequestHookHandler {
  const isOwn = (authority: string) => {
    const host = hostOf(authority)
    return host !== undefined && (LOOPBACK_NAMES.has(host) || isLoopbackAddress(host) || isOwnHost(host))
  }
  return ({ url, headers }, _reply, done) => {
    if (exempt.includes(url.split('?')[0] ?? '')) return done()
    const { host, origin } = headers
    // HTTP/1.0 clients send no Host; browsers always do.
    if (host !== undefined && !isOwn(host)) throw notOwn(host)
    if (headers['sec-fetch-site'] === 'cross-site') throw refused('a page of another site sent the request')
    if (origin !== undefined && !isOwn(URL.parse(origin)?.host ?? ''))
      throw refused(`the request comes from a page of ${shown(origin)}`)
    done()
  }
}

function hostOf(authority: string): string | undefined {
  // A trailing dot marks a fully qualified name.
  const host = parseHostPort(authority.toLowerCase().replace(/\.(?=:\d+$|$)/, ''), HTTP_PORT)?.host
  // URL writes an IPv6 address in its shortest form (RFC 5952).
  return host !== undefined && isIP(host) === 6 ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host
}

function notOwn(host: string): OciError {
  return refused(`${shown(host)} is not a name of this listener: --allowed-host adds names`)
}

function refused(message: string): OciError {
  return new OciError('DENIED', { message })
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, MAX_SHOWN))
}
