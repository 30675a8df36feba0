import { UpstreamError } from '../upstream.ts'
import type { Credential } from './credential.ts'

const NOT_PUBLIC = 'the image does not exist, or is not public'

/**
 * A refusal with what it means for the asker: registries deny what does not exist as they deny what is private. `isWrong`: the registry refuses user
 * and password themselves, whatever the repository.
 */
export function explainRefusal(
  refusal: UpstreamError,
  { credential, isNodes = false }: { readonly credential: Credential | undefined; readonly isNodes?: boolean },
  isWrong: boolean,
): UpstreamError {
  if (refusal.reason !== 'denied') return refusal
  const { brief, status, tokenError, cause } = refusal
  const isNodeRefused = isNodes && isWrong && credential !== undefined
  const explanation = isNodeRefused
    ? "it refuses this node's own credentials, see nabo doctor"
    : credential === undefined
      ? NOT_PUBLIC
      : `the image does not exist, or is not for ${isNodes ? "this node's" : 'these'} credentials`
  return new UpstreamError('denied', brief, { status, tokenError, cause, explanation, isNodeRefused })
}
