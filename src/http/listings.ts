import { NotFetchedError, type RegistryPolicy, includesRegistry } from '../delivery/access/registry-policy.ts'
import { OciError } from '../oci/errors.ts'
import { parseLinkHeader } from '../oci/link-header.ts'
import type { OciRequest } from '../oci/request.ts'
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

/** The link to the next page: a path of this mirror, for the same registry. */
function nextPage(link: string, { asked, pathAndQuery }: Listing): string | undefined {
  const target = parseLinkHeader(link).find(({ relations }) => relations.includes('next'))?.target
  const next = target === undefined ? null : URL.parse(target, 'http://upstream')
  if (next === null) return undefined
  if (asked.ns === undefined) next.searchParams.delete('ns')
  else next.searchParams.set('ns', asked.ns)
  const path = `/v2/${encodeURI(asked.name)}/${pathAndQuery.split('?')[0]}`
  return `<${path}${next.search}>; rel="next"`
}
