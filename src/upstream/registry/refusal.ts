import { TOKEN_ERRORS, type TokenError, UpstreamError } from '../upstream.ts'
import { discard, readSmallBody } from './bodies.ts'
import { MAX_CHALLENGE_LENGTH } from './challenge.ts'
import type { Health } from './health.ts'
import type { HttpResponse } from './http-client.ts'
import { parseRetryAfter } from './retry-after.ts'

const TOKEN_ERROR = new RegExp(`\\berror="?(${TOKEN_ERRORS.join('|')})\\b`)
const MAX_ERROR_BYTES = 16 * 1024

/**
 * What an answer other than a success or 404 means, as an UpstreamError; its body is read or discarded. `isCounted`: the request counts for a quota,
 * so that a 429 of the registry itself is noted in `health`.
 */
export async function refusalOf(response: HttpResponse, isCounted: boolean, health: Health): Promise<UpstreamError> {
  const { status, url } = response
  const retryAfter = parseRetryAfter(response.header('retry-after'))
  if (status === 429) {
    const body = await readSmallBody(response, MAX_ERROR_BYTES).catch(() => undefined)
    const saysSo = response.header('ratelimit-remaining') !== undefined || isTooManyRequests(body)
    health.isQuota = isCounted && saysSo
    return new UpstreamError('limited', `${url.host} limits requests: 429`, { status, retryAfter })
  }
  await discard(response)
  if (status === 401 || status === 403) {
    const challenge = (response.header('www-authenticate') ?? '').slice(0, MAX_CHALLENGE_LENGTH)
    const tokenError = TOKEN_ERROR.exec(challenge)?.[1] as TokenError | undefined
    const what = tokenError === undefined ? status : `${status} ${tokenError}`
    return new UpstreamError('denied', `${url.host} denies access: ${what}`, { status, tokenError })
  }
  return new UpstreamError('failed', `${url.host} answered ${status}`, {
    status,
    ...(status >= 500 ? { retryAfter } : {}),
  })
}

/** The error of a registry that counts; a bare text, or another JSON, is that of something in front of it. */
function isTooManyRequests(body: Uint8Array | undefined): boolean {
  try {
    const parsed = JSON.parse(Buffer.from(body ?? []).toString('utf8')) as { errors?: { code?: unknown }[] } | null
    return parsed?.errors?.[0]?.code === 'TOOMANYREQUESTS'
  } catch {
    return false
  }
}
