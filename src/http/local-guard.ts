import type { onRequestHookHandler } from 'fastify'

import { OciError } from '../oci/errors.ts'
import { canonicalHost, isLoopbackAddress, parseHostPort } from '../overlay/host-port.ts'

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
  return ({ url, headers, raw }, _reply, done) => {
    const isOwn = (authority: string) => {
      const host = hostOf(authority)
      if (host === undefined) return false
      const isLocal = LOOPBACK_NAMES.has(host) || isLoopbackAddress(host)
      return isLocal || isOwnHost(host) || host === canonicalHost(raw.socket.localAddress ?? '')
    }
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
  // An empty port is valid: RFC 3986, section 3.2.3.
  return canonicalHost(parseHostPort(authority.replace(/:$/, ''), HTTP_PORT)?.host ?? '')
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
