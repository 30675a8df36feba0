import { Agent, request, type IncomingHttpHeaders } from 'node:http'
import { Agent as TlsAgent, request as requestTls } from 'node:https'

import { second } from '../time/units.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The first 16 KiB. */
  readonly body: string
  /** How far the clock of who answered is ahead of ours, in milliseconds, exact to a second; undefined if it does not say. */
  readonly clockAhead: number | undefined
}

export interface HttpQuestion {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** Milliseconds without a byte after which the question ends; 2 s by default. */
  readonly timeout?: number
  /** For `https:`: the name in the TLS handshake, and whether the certificate must be valid. */
  readonly servername?: string
  readonly rejectUnauthorized?: boolean
}

/** The other program accepted the connection and sent no answer in time. */
export class SilentError extends Error {
  override readonly name = 'SilentError'
  readonly code = 'ETIMEDOUT'

  constructor() {
    super('no answer in time')
  }
}

const TIMEOUT = 2 * second
const MAX_BODY = 16 * 1024

/** One GET of another node or another program on this one, on a connection of its own, never through a proxy. Rejects with the system's error. */
export function askHttp(url: URL, { timeout = TIMEOUT, ...options }: HttpQuestion): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const began = Date.now()
    const isTls = url.protocol === 'https:'
    const agent = isTls ? new TlsAgent({ keepAlive: false }) : new Agent({ keepAlive: false })
    const send = isTls ? requestTls : request
    const asked = send(url, { ...options, agent, timeout }, (response) => {
      const clockAhead = clockAheadOf(response.headers.date, began, Date.now())
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > MAX_BODY) response.destroy()
      })
      response.on('error', () => {})
      response.once('close', () => {
        agent.destroy()
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, body: body.slice(0, MAX_BODY), clockAhead })
      })
    })
    asked.on('timeout', () => {
      const isConnected = asked.socket?.connecting === false
      asked.destroy(isConnected ? new SilentError() : Object.assign(new Error('no connection'), { code: 'ETIMEDOUT' }))
    })
    asked.on('error', (error) => {
      agent.destroy()
      reject(error)
    })
    asked.end()
  })
}

/** From a `Date` header, which has whole seconds, and when the answer was waited for. */
export function clockAheadOf(date: string | undefined, began: number, ended: number): number | undefined {
  const theirs = Date.parse(date ?? '')
  if (Number.isNaN(theirs)) return undefined
  if (theirs + second < began) return theirs + second - began
  return theirs > ended ? theirs - ended : 0
}
