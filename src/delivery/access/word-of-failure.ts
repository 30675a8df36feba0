import { UpstreamError } from '../../upstream/upstream.ts'
import type { RegistryWord } from './audience.ts'

/**
 * What the failure of a question to a registry says about the content. `unknown` only where the registry could not be asked: no answer, a rate
 * limit, or a status of 500 and more. Any other answer is `unclear` at most: the registry was reached, and did not show the content.
 */
export function wordOfFailure(error: unknown): Extract<RegistryWord, 'refused' | 'unclear' | 'unknown'> {
  if (!(error instanceof UpstreamError)) return 'unknown'
  switch (error.reason) {
    case 'denied':
      return 'refused'
    case 'unreachable':
    case 'limited':
      return 'unknown'
    case 'failed':
      return error.status === undefined || error.status >= 500 ? 'unknown' : 'unclear'
    case 'invalid':
    case 'unsized':
      return 'unclear'
  }
}
