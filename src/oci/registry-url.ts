import { isRepositoryName } from './reference.ts'

/** Where a registry's distribution API is, and what the names of its repositories begin with there. */
export interface RegistryApi {
  /** Ends with `/v2/`. */
  readonly api: URL
  /** `hub-proxy/`: goes before each repository's name. Empty for none. */
  readonly prefix: string
  /** For people, and to tell addresses apart: `harbor.example/v2/hub-proxy`, or the host alone. At most 255 characters. */
  readonly name: string
}

/** A text is not the URL of a registry; the message is a sentence for the operator that does not quote the text. */
export class RegistryUrlError extends Error {
  override readonly name = 'RegistryUrlError'
}

const MAX_LENGTH = 255
/** Unreserved characters of RFC 3986: no others keep their meaning on the way through URL parsers and gateways. */
const SEGMENT = /^[A-Za-z0-9._~-]+$/

/**
 * Reads `https://host`, `https://host/path` (the API is at `/path/v2/`) or `https://host/v2/prefix` (the API is at `/v2/`, and each
 * repository's name there begins with `prefix/`). Throws RegistryUrlError for a URL that no request could be made of.
 */
export function parseRegistryUrl(text: string): URL {
  const url = URL.parse(text)
  if (url === null || !/^https?:\/\//i.test(text) || !/^https?:$/.test(url.protocol))
    throw new RegistryUrlError('an http or https URL is expected')
  if (`${url.username}${url.password}` !== '')
    throw new RegistryUrlError('a user and a password do not belong in a URL: put them into --credentials-file')
  // URL drops dots and turns backslashes into slashes, so look at what was written.
  const path = /^https?:\/\/[^/\\?#]*(.*)$/is.exec(text)?.[1] ?? ''
  if (/[?#]/.test(path))
    throw new RegistryUrlError('a query (?) or fragment (#) cannot be part of the URL: leave it out')
  const inner = path.replace(/^\/|\/$/g, '')
  for (const segment of inner === '' ? [] : inner.split('/')) {
    if (segment === '') throw new RegistryUrlError('its path has an empty part: write one slash between two names')
    if (/^\.\.?$/.test(segment)) throw new RegistryUrlError('its path has the part . or ..: write the path without it')
    if (!SEGMENT.test(segment))
      throw new RegistryUrlError('its path may have letters, digits, and the characters . _ ~ - between slashes')
  }
  requireUsable(registryApi(url))
  return url
}

/** Splits the URL of {@link parseRegistryUrl} at its first `/v2`; one without has it appended. */
export function registryApi(url: URL): RegistryApi {
  const segments = url.pathname.split('/').filter((segment) => segment !== '')
  const at = segments.indexOf('v2')
  const before = at < 0 ? segments : segments.slice(0, at)
  const after = at < 0 ? [] : segments.slice(at + 1)
  const shown = after.length === 0 ? before : [...before, 'v2', ...after]
  return {
    api: new URL(`/${[...before, 'v2', ''].join('/')}`, url),
    prefix: after.map((segment) => `${segment}/`).join(''),
    name: [url.host, ...shown].join('/'),
  }
}

function requireUsable({ api, prefix, name }: RegistryApi): void {
  if (prefix !== '' && !isRepositoryName(prefix.slice(0, -1)))
    throw new RegistryUrlError(
      'what follows /v2/ begins the names of repositories: write lower-case letters and digits, with single . _ - between them',
    )
  if (api.pathname.endsWith('/v1/v2/'))
    throw new RegistryUrlError(
      '/v1 is an API that registries no longer have: leave it out (Docker Hub is https://registry-1.docker.io)',
    )
  if (name.length > MAX_LENGTH) throw new RegistryUrlError(`it is longer than ${MAX_LENGTH} characters`)
}
