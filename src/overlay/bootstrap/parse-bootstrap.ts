import { isIP } from 'node:net'

import { multiaddr } from '@multiformats/multiaddr'

import { type HostPort, parseHostPort } from '../host-port.ts'
import type { BootstrapTarget } from './bootstrap-source.ts'

/** The port of `--router-addr` where an address names none. */
export const DEFAULT_ROUTER_PORT = 7952

const DNS_PORT = 53

/** What `--bootstrap` says. */
export type BootstrapSpec =
  | { readonly type: 'none' }
  | { readonly type: 'static'; readonly targets: readonly BootstrapTarget[] }
  | { readonly type: 'dns'; readonly name: string; readonly port: number }
  | { readonly type: 'http'; readonly url: string }

/** Reads `none`, `static:<ip[:port] or multiaddr>,…`, `dns:<name>[:port]` or `http:<url>`. Throws an Error of one sentence. */
export function parseBootstrap(text: string): BootstrapSpec {
  if (text === 'none' || text === '') return { type: 'none' }
  const colon = text.indexOf(':')
  const [kind, rest] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  switch (kind) {
    case 'static':
      return { type: 'static', targets: staticTargets(rest) }
    case 'dns':
      return { type: 'dns', ...dnsName(rest) }
    case 'http':
      // `http://…` by itself is understood as well
      return { type: 'http', url: httpUrl(rest.startsWith('//') ? text : rest) }
    case 'https':
      return { type: 'http', url: httpUrl(text) }
    default:
      throw new Error(`bootstrap must be none, static:…, dns:… or http:…, not '${text}'`)
  }
}

/** Reads `--bootstrap-dns`: `ip[:port]`, port 53 if none. Throws an Error of one sentence. */
export function parseDnsServer(text: string): HostPort {
  const server = parseHostPort(text, DNS_PORT)
  if (server === undefined || isIP(server.host) === 0) {
    throw new Error(`a DNS server must be an IP address with or without a port, not '${text}'`)
  }
  return server
}

/** Reads one `ip[:port]` or multiaddr; undefined for anything else. */
export function parseTarget(text: string): BootstrapTarget | undefined {
  if (text.startsWith('/')) return multiaddrTarget(text)
  const target = parseHostPort(text, DEFAULT_ROUTER_PORT)
  return target === undefined || isIP(target.host) === 0 ? undefined : { type: 'host', ...target }
}

function multiaddrTarget(text: string): BootstrapTarget | undefined {
  try {
    const parsed = multiaddr(text)
    const names = parsed.getComponents().map((component) => component.name)
    const shape = /^(?:ip4|ip6|dns4|dns6|dns) tcp(?: p2p)?$/
    return shape.test(names.join(' ')) ? { type: 'multiaddr', multiaddr: parsed } : undefined
  } catch {
    return undefined
  }
}

function staticTargets(list: string): readonly BootstrapTarget[] {
  const items = list.split(',').map((item) => item.trim())
  return items.map((item) => {
    const target = parseTarget(item)
    if (target === undefined) {
      throw new Error(`bootstrap static: '${item}' is not an IP address with or without a port, nor a TCP multiaddr`)
    }
    return target
  })
}

function dnsName(text: string): { name: string; port: number } {
  const parsed = parseHostPort(text, DEFAULT_ROUTER_PORT)
  if (parsed === undefined || isIP(parsed.host) !== 0) {
    throw new Error(`bootstrap dns: '${text}' is not a DNS name with or without a port`)
  }
  return { name: parsed.host, port: parsed.port }
}

function httpUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Error(`bootstrap http: '${text}' is not an http or https URL`)
  }
  return url.href
}
