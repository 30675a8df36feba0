import { NotFetchedError, type RegistryPolicy, includesRegistry } from '../delivery/access/registry-policy.ts'
import { OciError } from '../oci/errors.ts'
import { MAX_LINK_HEADER, parseLinkHeader } from '../oci/link-header.ts'
import { isSameQuery, listingParameters, namespaceParameter, withQuery } from '../oci/listing-query.ts'
import { MAX_URL_LENGTH, type OciRequest } from '../oci/request.ts'
import type { UpstreamListing } from '../upstream/upstream.ts'
import { sendBody } from './answers.ts'
import type { Exchange } from './exchange.ts'

type Listing = Extract<OciRequest, { type: 'listing' }>

/** Answers with a list of the registry (tags or referrers), under the name that the client used. Throws OciError. */
export async function serveListing(
  exchange: Exchange,
  asked: Listing,
  policy: RegistryPolicy,
  list: (signal: AbortSignal) => Promise<UpstreamListing>,
): Promise<void> {
  const { registry } = asked.repository
  if (!includesRegistry(policy.fallback, registry)) {
    const cause = new NotFetchedError(registry, policy)
    throw new OciError('NAME_UNKNOWN', { message: cause.message, cause })
  }
  const listing = await list(exchange.signal)
  exchange.fields.shares = [{ source: 'upstream', bytes: listing.body.length }]
  const link = listing.link === undefined ? undefined : nextPage(listing.link, asked)
  sendBody(exchange, named(listing.body, asked), {
    'content-type': listing.contentType,
    ...(link === undefined ? {} : { link }),
    ...(listing.filtersApplied === undefined ? {} : { 'oci-filters-applied': listing.filtersApplied }),
  })
}

/** A list of tags has a `name`: the name that the client used takes the place of the repository's name at its registry. */
function named(body: Uint8Array, { asked, pathAndQuery }: Listing): Uint8Array {
  if (!pathAndQuery.startsWith('tags/')) return body
  const json: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
  if (typeof json !== 'object' || json === null || !('name' in json) || json.name === asked.name) return body
  return Buffer.from(JSON.stringify({ ...json, name: asked.name }))
}

/** The link to the next page: a path of this mirror, for the same registry, with all parameters of the registry's link. Throws OciError. */
function nextPage(link: string, { asked, pathAndQuery }: Listing): string | undefined {
  if (link.length > MAX_LINK_HEADER) throw unusable(`is longer than ${MAX_LINK_HEADER} characters`)
  const target = parseLinkHeader(link).find(({ relations }) => relations.includes('next'))?.target
  const next = target === undefined ? null : URL.parse(target, 'http://upstream')
  if (next === null) return undefined
  const [path = '', query = ''] = pathAndQuery.split(/\?(.*)/s)
  const parameters = listingParameters(next.search.slice(1))
  // A client that follows links would ask for this page without end.
  if (isSameQuery(parameters, listingParameters(query))) throw unusable('leads to the page that it came with')
  const namespace = asked.ns === undefined ? [] : [namespaceParameter(asked.ns)]
  const url = withQuery(`/v2/${encodeURI(asked.name)}/${path}`, [...parameters, ...namespace])
  if (url.length > MAX_URL_LENGTH) throw unusable(`is longer than ${MAX_URL_LENGTH} characters`)
  return `<${url}>; rel="next"`
}

/** Without its link a page would look like the last one. */
function unusable(why: string): OciError {
  return new OciError('UNAVAILABLE', { message: `the registry's link to the next page ${why}` })
}
