import { OciError } from '../../oci/errors.ts'
import type { SharedFailure, SwarmOutcome } from '../../swarm/swarm.ts'
import { ToldFailureError } from '../../swarm/told-failure.ts'
import { errorText } from '../../telemetry/log.ts'
import { unexplainedText } from '../../upstream/unexplained-text.ts'
import { UpstreamError } from '../../upstream/upstream.ts'
import type { BlobSources } from './blob-sources.ts'
import type { BlobRequest } from './blob-request.ts'

/** Why no source delivered a blob: whether the upstream answered that it does not exist, and the last error. */
export interface WhyNobody {
  readonly absent: boolean
  readonly error: unknown
  /** Whether peers' bytes had to pass their hash first. */
  readonly isCautious?: boolean
}

/** The error for a blob that no source delivered; its message appears in the pod's event. */
export function refusalOf(
  { repository, digest }: BlobRequest,
  sources: Pick<BlobSources, 'fallsBack' | 'notFetched'>,
  { absent, error, isCautious = false }: WhyNobody,
): OciError {
  const reason = sources.fallsBack(repository) ? error : sources.notFetched(repository)
  const cause = absent ? undefined : reason
  const why = cause === undefined ? `nor has ${repository.registry}` : `and ${errorText(cause)}`
  return new OciError('BLOB_UNKNOWN', {
    message: `${digest}: no node ${isCautious ? 'sent the right bytes' : 'has it'}, ${why}`,
    cause,
  })
}

/**
 * What a node that was to fetch the blob for others, and cannot, tells them. That its client asked past the end is no failure of the blob; and one of
 * the nodes may know the size that the registry did not say, and succeed.
 */
export function outcomeOf(request: BlobRequest, why: WhyNobody): SwarmOutcome {
  const isPersonal = why.error instanceof UpstreamError && (why.error.status === 416 || why.error.reason === 'unsized')
  return isPersonal ? { type: 'cancelled' } : { type: 'failed', failure: failureOf(request, why) }
}

function failureOf({ repository }: BlobRequest, { absent, error }: WhyNobody): SharedFailure {
  if (absent) return { absent, message: `${repository.registry} does not have it` }
  // What another node said is not repeated as this node's own words.
  const isOwn = error !== undefined && !(error instanceof ToldFailureError)
  return { absent, message: isOwn ? unexplainedText(error) : 'the upstream did not give it' }
}
