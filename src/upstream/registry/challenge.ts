import { UpstreamError } from '../upstream.ts'

/** What a registry wants to see before it answers. */
export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer'
      /** Where to ask for a token; undefined if the header names no HTTP URL. */
      readonly realm: URL | undefined
      readonly service: string | undefined
      readonly scope: string | undefined
    }

/** Cap on the parsed part of a header, in characters; registries send a few hundred. */
export const MAX_CHALLENGE_LENGTH = 4096

const TOKEN = /[^\s,="]+/y
const SPACE = /[\s,]*/y
const PARAMETER = /([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))/y

/**
 * Reads a `WWW-Authenticate` header, which may hold several challenges (RFC 9110 11.6.1). A bearer challenge wins over basic, and basic over
 * a bearer challenge without a URL to ask; undefined if there is none of a scheme that Nabo knows.
 */
export function parseChallenge(header: string): Challenge | undefined {
  let other: Challenge | undefined
  for (const { scheme, parameters } of challenges(header.slice(0, MAX_CHALLENGE_LENGTH))) {
    if (scheme === 'basic') other = { scheme: 'basic' }
    if (scheme !== 'bearer') continue
    const url = URL.parse(parameters.get('realm') ?? '')
    if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
      other ??= { scheme: 'bearer', realm: undefined, service: undefined, scope: undefined }
      continue
    }
    return { scheme: 'bearer', realm: url, service: parameters.get('service'), scope: parameters.get('scope') }
  }
  return other
}

/** Splits the header: a word that `=` does not follow opens the next challenge. */
function challenges(header: string): { scheme: string; parameters: Map<string, string> }[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = []
  let at = 0
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  while (at < header.length) {
    take(SPACE)
    const parameter = found.length === 0 ? null : take(PARAMETER)
    if (parameter !== null) {
      const value = parameter[2]?.replaceAll(/\\(.)/g, '$1') ?? parameter[3] ?? ''
      found.at(-1)?.parameters.set((parameter[1] ?? '').toLowerCase(), value)
      continue
    }
    const scheme = take(TOKEN)
    if (scheme === null) at += 1
    else found.push({ scheme: scheme[0].toLowerCase(), parameters: new Map() })
  }
  return found
}

/** The status that a challenge comes with: the registry was reached. */
const ASKED = { status: 401 }

/**
 * Where to ask for the token that a registry wants. Throws UpstreamError `failed` with status 401 if Nabo asks nowhere: this is a fault of the registry's
 * configuration and no verdict on the image, which may be public.
 */
export function realmOf({ realm }: Extract<Challenge, { scheme: 'bearer' }>, registry: URL): URL {
  if (realm === undefined)
    throw new UpstreamError('failed', `${registry.host} wants a token, and names no URL where to get one`, ASKED)
  if (realm.protocol === 'http:' && registry.protocol === 'https:')
    throw new UpstreamError('failed', `${registry.host} sends for a token to ${realm.host} without HTTPS`, ASKED)
  return realm
}

/**
 * True if a token may be asked for at `realm` on behalf of `registry`: only where both belong to one registrable domain, so that
 * a registry cannot send credentials elsewhere. Plain HTTP only ever answers plain HTTP.
 */
export function realmBelongsTo(realm: URL, registry: URL): boolean {
  if (realm.protocol === 'http:' && registry.protocol === 'https:') return false
  const [a, b] = [hostOf(realm), hostOf(registry)]
  return a === b || (!isAddress(a) && !isAddress(b) && domainOf(a) === domainOf(b))
}

/** Without the dot that ends a fully qualified name: it would count as a label. */
function hostOf(url: URL): string {
  return url.hostname.toLowerCase().replace(/\.$/, '')
}

function isAddress(host: string): boolean {
  return host.startsWith('[') || /^[\d.]+$/.test(host)
}

/** The last two labels; three where the last two are a country's `co.uk`-like pair. Too narrow is safe, so no list is kept. */
function domainOf(host: string): string {
  const labels = host.split('.')
  const pair = labels.slice(-2)
  const isCountryPair = pair[1]?.length === 2 && (pair[0]?.length ?? 0) <= 3
  return labels.slice(isCountryPair ? -3 : -2).join('.')
}
