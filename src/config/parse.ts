import { isIP } from 'node:net'

import { InvalidArgumentError } from 'commander'

import { canonicalRegistry, isRegistry } from '../oci/reference.ts'
import { parseRegistryUrl, registryApi, RegistryUrlError } from '../oci/registry-url.ts'
import type { RegistrySet } from '../delivery/access/registry-policy.ts'
import { type HostPort, canonicalHost, parseHostPort } from '../overlay/host-port.ts'
import { hour, minute, second } from '../time/units.ts'
import type { AdvertisedPort, MirrorSource, TokenRealm } from './serve-config.ts'

/** Parsers of flag values. Each throws InvalidArgumentError with a sentence that says what is expected. */

const UNITS: Record<string, number> = { ms: 1, s: second, m: minute, h: hour }
const SIZES: Record<string, number> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
}

const MIN_BANDWIDTH = 16 * 1024

/** `3s`, `250ms`, `2m` in milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text.trim())
  const value = match === null ? Number.NaN : Number(match[1]) * (UNITS[match[2] ?? ''] ?? Number.NaN)
  if (!Number.isFinite(value) || value < 1 || value > 24 * hour) {
    throw new InvalidArgumentError('a time such as 3s, 250ms or 2m is expected, at most 24h.')
  }
  return Math.round(value)
}

/** `20GiB`, `500MB` or plain bytes, in bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)?$/.exec(text.trim())
  const value = match === null ? Number.NaN : Math.floor(Number(match[1]) * (SIZES[match[2] ?? ''] ?? Number.NaN))
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('a size such as 20GiB or 500MB is expected.')
  return value
}

/** Bytes a second, written like a size. Less than a single transfer can live on is taken for a slip of the unit. */
export function parseBandwidth(text: string): number {
  const value = parseSize(text)
  if (value < MIN_BANDWIDTH)
    throw new InvalidArgumentError('bytes a second are expected, such as 10MiB, at least 16KiB.')
  return value
}

/** `true` or `false`. Throws for anything else: a variable such as `no` must not count as set. */
export function parseBoolean(text: string): boolean {
  const value = text.trim()
  if (value !== 'true' && value !== 'false') throw new InvalidArgumentError('true or false is expected.')
  return value === 'true'
}

export function parseCount(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`a whole number from ${min} to ${max} is expected.`)
    return value
  }
}

/** `host:port`; a host alone gets the default port, and port 0 takes a free one. */
export function parseAddress(defaultPort: number): (text: string) => HostPort {
  return (text) => {
    const anyPort = text.trim().endsWith(':0') && !text.trim().endsWith('::0')
    const address = parseHostPort(anyPort ? text.trim().slice(0, -2) : text.trim(), defaultPort)
    if (address !== undefined && anyPort) return { ...address, port: 0 }
    if (address === undefined)
      throw new InvalidArgumentError(`an address such as 127.0.0.1:${defaultPort} or [::1]:${defaultPort} is expected.`)
    return address
  }
}

/** As {@link parseAddress}, or `advertise[:port]` for every advertised address. */
export function parseListenAddress(defaultPort: number): (text: string) => HostPort | AdvertisedPort {
  const parse = parseAddress(defaultPort)
  return (text) => {
    const match = /^advertise(?::(\d{1,5}))?$/.exec(text.trim())
    if (match === null) return parse(text)
    const advertisedPort = Number(match[1] ?? defaultPort)
    // With port 0 each address would get a port of its own, and peers are told one.
    if (advertisedPort < 1 || advertisedPort > 65_535)
      throw new InvalidArgumentError(
        `a port from 1 to 65535 is expected after advertise, such as advertise:${defaultPort}.`,
      )
    return { advertisedPort }
  }
}

/** `gateway`, an IP address, or a network such as `10.0.0.0/8`. */
export function parseMirrorSource(text: string): MirrorSource {
  if (text === 'gateway') return text
  const [address = '', digits, ...rest] = text.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  const prefix = digits === undefined ? bits : /^\d{1,3}$/.test(digits) ? Number(digits) : Number.NaN
  // An address with a zone names a link, and BlockList takes none.
  if (!(prefix >= 0 && prefix <= bits) || rest.length > 0 || address.includes('%'))
    throw new InvalidArgumentError('gateway, an IP address, or a network such as 10.0.0.0/8 is expected.')
  return { address, prefix }
}

/** A host name or an address, without a port; in lower case. */
export function parseHostName(text: string): string {
  const host = text.trim().toLowerCase()
  const named = parseHostPort(host, 1)
  const hasPort = named !== undefined && parseHostPort(host, 2)?.port === named.port
  if (named === undefined || hasPort)
    throw new InvalidArgumentError('a host name or an address without a port is expected, such as mirror.example.')
  return canonicalHost(named.host) ?? named.host
}

/** `all`, `none`, or registries with commas or blanks between them. */
export function parseRegistrySet(text: string): RegistrySet {
  const names = text.split(/[\s,]+/).filter((name) => name !== '')
  if (names.length === 1 && (names[0] === 'all' || names[0] === 'none')) return names[0]
  if (names.length === 0) throw new InvalidArgumentError('all, none, or a list of registries is expected.')
  // Such a list would take `all` for a registry's name and leave every other registry out.
  const word = names.find((name) => name === 'all' || name === 'none')
  if (word !== undefined)
    throw new InvalidArgumentError(`'${word}' cannot be part of a list: give it alone, or registries only.`)
  return new Set(names.map(registryName))
}

const UPSTREAM_FORM =
  '<registry>=<http or https URL>[,<URL>…] is expected, such as docker.io=https://registry-1.docker.io.'

/** `docker.io=https://registry-1.docker.io[,https://…]`. */
export function parseUpstream(text: string): readonly [string, readonly URL[]] {
  const equals = text.indexOf('=')
  if (equals <= 0) throw new InvalidArgumentError(UPSTREAM_FORM)
  const urls = text
    .slice(equals + 1)
    .split(',')
    .map(upstreamUrl)
  const names = urls.map((url) => registryApi(url).name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw new InvalidArgumentError(`${twice} is named twice: name each address once.`)
  return [registryName(text.slice(0, equals)), urls]
}

function upstreamUrl(text: string): URL {
  try {
    return parseRegistryUrl(text.trim())
  } catch (error) {
    if (!(error instanceof RegistryUrlError)) throw error
    throw new InvalidArgumentError(`${error.message}. ${UPSTREAM_FORM}`)
  }
}

/** `<registry>=<cert>[,<key>]`; a file alone holds both. */
export function parseRegistryClientCert(text: string): readonly [string, { cert: string; key: string }] {
  const equals = text.indexOf('=')
  const [cert = '', key = cert, ...rest] = text.slice(equals + 1).split(',')
  if (equals <= 0 || cert === '' || key === '' || rest.length > 0)
    throw new InvalidArgumentError('<registry>=<certificate file>[,<key file>] is expected.')
  return [registryName(text.slice(0, equals)), { cert, key }]
}

/** `registry.example.com=gitlab.example.org[:port]`. */
export function parseTokenRealm(text: string): TokenRealm {
  const equals = text.indexOf('=')
  const host = text.slice(equals + 1).toLowerCase()
  if (equals <= 0 || !isRegistry(host))
    throw new InvalidArgumentError(
      '<registry>=<host>[:<port>] is expected, without https://, such as registry.example.com=gitlab.example.org.',
    )
  return { registry: registryName(text.slice(0, equals)), host: new URL(`https://${host}`).host }
}

/** `<registry>=<file>`. */
export function parseRegistryFile(text: string): readonly [string, string] {
  const equals = text.indexOf('=')
  if (equals <= 0 || equals === text.length - 1) throw new InvalidArgumentError('<registry>=<file> is expected.')
  return [registryName(text.slice(0, equals)), text.slice(equals + 1)]
}

function registryName(text: string): string {
  const registry = canonicalRegistry(text.trim())
  if (!isRegistry(registry))
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is not a registry such as docker.io or registry.example.com:5000.`,
    )
  return registry
}

export function parseIp(text: string): string {
  if (isIP(text) === 0) throw new InvalidArgumentError('an IP address is expected.')
  return text
}

/** Turns the sentence of a parser's error into one that commander shows. */
export function sentence<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text)
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
    }
  }
}
