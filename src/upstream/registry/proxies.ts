import { BlockList, isIP } from 'node:net'

import { bareHost } from '../../oci/hosts.ts'

/** The proxy that a URL is asked through; undefined for none. */
export type ChooseProxy = (url: URL) => URL | undefined

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/**
 * Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (the lower-case ones win) as Go programs such as containerd do: `NO_PROXY` lists
 * `*`, names (with what is below them), `.names` (only what is below), addresses and CIDRs, with a port if wanted. This machine is
 * never asked through a proxy. Throws an Error with one sentence, which does not quote the value: it may hold a password.
 */
export function readProxies(environment: Readonly<Record<string, string | undefined>>): ChooseProxy {
  const value = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined
  const proxies = new Map<string, URL | undefined>([
    ['http:', parseProxy('HTTP_PROXY', value('HTTP_PROXY'))],
    ['https:', parseProxy('HTTPS_PROXY', value('HTTPS_PROXY'))],
  ])
  const exceptions = (value('NO_PROXY') ?? '').split(/[\s,]+/).flatMap((text) => parseException(text) ?? [])
  return (url) => {
    const proxy = proxies.get(url.protocol)
    const host = bareHost(url.hostname)
    if (proxy === undefined || isThisMachine(host)) return undefined
    const port = url.port === '' ? (DEFAULT_PORTS[url.protocol] ?? '') : url.port
    return exceptions.some((excepts) => excepts(host, port)) ? undefined : proxy
  }
}

function parseProxy(name: string, text: string | undefined): URL | undefined {
  if (text === undefined) return undefined
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  if (url === null || !/^(?:https?|socks5?):$/.test(url.protocol) || url.hostname === '') {
    throw new Error(`the environment variable ${name} is not the URL of an HTTP or SOCKS5 proxy`)
  }
  return url
}

function isThisMachine(host: string): boolean {
  const family = isIP(host)
  return family === 0 ? host === 'localhost' : LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

/** One entry of NO_PROXY; undefined for what is none. */
function parseException(text: string): ((host: string, port: string) => boolean) | undefined {
  if (text === '') return undefined
  if (text === '*') return () => true
  const range = parseRange(text)
  if (range !== undefined) return range
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?$/.exec(text) ?? []
  const name = (bracketed ?? plain ?? '').toLowerCase().replace(/\.$/, '')
  if (name === '') return undefined
  const below = name.replace(/^\*?(?=\.)/, '')
  return (host, asked) => {
    if (port !== undefined && port !== asked) return false
    return below.startsWith('.') ? host.endsWith(below) : host === below || host.endsWith(`.${below}`)
  }
}

function parseRange(text: string): ((host: string) => boolean) | undefined {
  const [net = '', bits = ''] = text.split('/', 2)
  const family = isIP(net)
  if (family === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 6 ? 128 : 32)) return undefined
  const list = new BlockList()
  list.addSubnet(net, Number(bits), family === 6 ? 'ipv6' : 'ipv4')
  return (host) => isIP(host) !== 0 && list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')
}
