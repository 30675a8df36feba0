import { repositoryKey } from '../oci/reference.ts'
import type { OciRequest } from '../oci/request.ts'
import type { Exchange } from './exchange.ts'

/** Adds the requested content to the fields of the request's log line. */
export function describe(exchange: Exchange, asked: Exclude<OciRequest, { type: 'base' }>): void {
  exchange.fields.kind = asked.type
  exchange.fields.repository = repositoryKey(asked.repository)
  if (asked.type === 'blob') exchange.fields.digest = asked.digest
  if (asked.type === 'manifest' && asked.reference.type === 'digest') exchange.fields.digest = asked.reference.digest
  if (asked.type === 'manifest' && asked.reference.type === 'tag') exchange.fields.reference = asked.reference.tag
}

/** The types of a request's `Accept` headers, without their parameters. */
export function acceptedTypes(header: string | undefined): string[] {
  return (header ?? '').split(',').flatMap((part) => part.split(';')[0]?.trim().toLowerCase() || [])
}
