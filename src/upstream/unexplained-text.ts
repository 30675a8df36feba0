import { errorText } from '../telemetry/log.ts'
import { UpstreamError } from './upstream.ts'

/**
 * The text of an error without the explanation of a refusal. The explanation is about the credentials of this node and the image that its client asked for, and
 * so is false for another node or another question.
 */
export function unexplainedText(error: unknown): string {
  return error instanceof UpstreamError && error.brief !== error.message ? error.brief : errorText(error)
}
