import { errorText } from '../telemetry/log.ts'
import { UpstreamError } from './upstream.ts'

/** An error in words for other nodes: without the explanation, which is about the credentials of this node and would read as about theirs. */
export function sharedText(error: unknown): string {
  return error instanceof UpstreamError && error.brief !== error.message ? error.brief : errorText(error)
}
