import { NotShownError } from '../delivery/access/client-access.ts'
import { OciError } from '../oci/errors.ts'

const CONTAINERD = /^containerd\/v?(\d+)\./
/** Printable ASCII: what RFC 9110 lets every client read of a reason phrase. */
const UNPRINTABLE = /[^\x20-\x7e]+/g
const MAX_PHRASE = 300

/**
 * The reason phrase of a refusal. A pull begins with a HEAD, whose answer has no body: what a pod's event can show of it is the status line alone.
 */
export function phraseOf({ message }: Pick<OciError, 'message'>): string {
  return message.replaceAll(UNPRINTABLE, ' ').trim().slice(0, MAX_PHRASE)
}

/**
 * A refusal as its client can show it. When all hosts fail, containerd 2 reports the answer with the most telling status, and for it a 404
 * ("not found") tells more than a registry's 401 or an address that cannot be reached (`firstErrPriority` in its resolver). So a 404 is kept for
 * what does not exist, and anything else that this node could not do gets another status, with which containerd asks its next host just the same.
 *
 * Where the registry refused the client's credentials with a code of RFC 6750, containerd 2 gets that code in a Bearer challenge: it then reports
 * "pull access denied, …: server message: insufficient_scope", as if it had asked the registry, and not the address of this node
 * (`invalidAuthorization` in its authorizer). That takes a request which containerd repeats with credentials, as it does the HEAD that resolves a name.
 * The challenge names no realm, so that no credentials go anywhere.
 *
 * containerd 1.x ignores a 404 to the HEAD with which it resolves a name, and reports the registry's own answer. Of the GETs that follow, it
 * reports the first host's failure, whose body it shows only if the status is not 404.
 */
export function forClient(
  error: unknown,
  { method, userAgent }: { method: string | undefined; userAgent: string | undefined },
): unknown {
  const major = Number(CONTAINERD.exec(userAgent ?? '')?.[1] ?? 0)
  const isShown = major >= 2 || (major === 1 && method === 'GET')
  if (!isShown || !(error instanceof OciError) || error.status !== 404 || error.cause === undefined) return error
  const { message, cause } = error
  if (major >= 2 && method === 'HEAD' && cause instanceof NotShownError && cause.tokenError !== undefined)
    return new OciError('UNAUTHORIZED', {
      message,
      cause,
      headers: { 'www-authenticate': `Bearer error="${cause.tokenError}"` },
    })
  return new OciError(cause instanceof NotShownError ? 'DENIED' : 'UNAVAILABLE', { message, cause })
}
