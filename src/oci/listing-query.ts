import { OciError } from './errors.ts'

/** Far above what a registry puts into a link; each costs a few string operations. */
const MAX_PARAMETERS = 32
/** The mirror's own parameter, and no registry's. */
const NAMESPACE = 'ns'
/** What RFC 3986 3.4 allows in a query, without the `&` between parameters; `%` only before two hexadecimal digits. */
const NOT_ALLOWED = /%(?![\dA-Fa-f]{2})|[^\w\-.~!$'()*+,;:@/?=%]/gu

/**
 * The parameters of a listing's query, each `name=value` as it was written: a registry chooses the names and the values of its cursors, and
 * decoding may change them (`+`, bytes that are no UTF-8). Without the mirror's `ns`. Characters that a query must not have are
 * percent-encoded, so parameters cannot change a URL's host or path. Throws OciError if there are too many.
 */
export function listingParameters(query: string): readonly string[] {
  const parameters = query.split('&').filter((text) => text !== '' && nameOf(text) !== NAMESPACE)
  if (parameters.length > MAX_PARAMETERS)
    throw new OciError('UNSUPPORTED', { status: 400, message: `the query has more than ${MAX_PARAMETERS} parameters` })
  return parameters.map((text) => text.replaceAll(NOT_ALLOWED, encode))
}

/** `path` with a query, if there are parameters. */
export function withQuery(path: string, parameters: readonly string[]): string {
  return parameters.length === 0 ? path : `${path}?${parameters.join('&')}`
}

/** Whether two lists have the same parameters, in any order. */
export function isSameQuery(a: readonly string[], b: readonly string[]): boolean {
  return a.toSorted().join('&') === b.toSorted().join('&')
}

/** The `ns` parameter for a registry. */
export function namespaceParameter(registry: string): string {
  return `${NAMESPACE}=${encodeURIComponent(registry)}`
}

function nameOf(parameter: string): string | undefined {
  return new URLSearchParams(parameter).keys().next().value
}

/** A lone surrogate becomes U+FFFD. */
function encode(character: string): string {
  return encodeURIComponent(character.toWellFormed())
}
