import { errors } from 'undici'

import { HttpRequests } from '../http-client/http-requests.ts'
import { clockAheadOf } from '../time/clock-ahead.ts'
import { second } from '../time/units.ts'

export interface HttpLook {
  readonly status: number
  readonly header: (name: string) => string | undefined
  /** The first 16 KiB. */
  readonly body: string
  /** Milliseconds by which the server's clock is ahead of this one, exact to a second; undefined without a `Date` header. */
  readonly clockAhead: number | undefined
}

export interface HttpQuestion {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** Milliseconds for the connection, and then without a byte, after which the question ends; 2 s by default. */
  readonly timeout?: number
  /** For `https:`: the name in the TLS handshake, and whether the certificate must be valid. */
  readonly servername?: string
  readonly verifiesCertificates?: boolean
}

/** The other program accepted the connection and sent no answer in time. */
export class SilentError extends Error {
  override readonly name = 'SilentError'
  readonly code = 'ETIMEDOUT'

  constructor(cause: unknown) {
    super('no answer in time', { cause })
  }
}

const TIMEOUT = 2 * second
const MAX_BODY = 16 * 1024

/** One GET of another node or another program on this one, on a connection of its own. Rejects with the system's error. */
export async function askHttp(
  url: URL,
  { timeout = TIMEOUT, headers, signal, ...tls }: HttpQuestion,
): Promise<HttpLook> {
  const requests = new HttpRequests({ connectTimeout: timeout, idleTimeout: timeout, ...tls })
  const began = Date.now()
  try {
    const answer = await requests.send(url, { method: 'GET', headers, signal, headersTimeout: timeout })
    const clockAhead = clockAheadOf(answer.header('date'), began, Date.now())
    return { status: answer.status, header: answer.header, body: await beginningOf(answer.body), clockAhead }
  } catch (error) {
    if (error instanceof errors.HeadersTimeoutError) throw new SilentError(error)
    if (error instanceof errors.ConnectTimeoutError)
      throw Object.assign(new Error('no connection in time', { cause: error }), { code: 'ETIMEDOUT' })
    throw error
  } finally {
    await requests.close()
  }
}

async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      length += chunk.length
      if (length > MAX_BODY) break
    }
  } catch {
    // The bytes until then suffice.
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY).toString('utf8')
}
