import type { ServerResponse } from 'node:http'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { TransferShare } from '../delivery/blobs/transfer-record.ts'
import { errorText } from '../telemetry/log.ts'
import type { OpenRequests } from './open-requests.ts'

/** One request and its answer. */
export interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** The response below `reply`: headers are set on it, so that they are sent with hijacked answers too. */
  readonly response: ServerResponse
  /** Fires when the client closes the connection before the answer has ended. */
  readonly signal: AbortSignal
  /** Fields of the request's log line besides method, status and time. */
  readonly fields: ExchangeFields
  /** Why the answer is a refusal, or ends before its last byte. */
  failure?: { readonly outcome: 'refused' | 'broken' | 'client-gone'; readonly error: unknown }
}

export interface ExchangeFields {
  kind?: string
  repository?: string
  reference?: string
  digest?: string
  /** The sources of the answer's bytes. */
  shares?: readonly TransferShare[]
}

export interface FinishedExchange extends ExchangeFields {
  readonly method: string
  readonly status: number
  readonly bytes: number
  readonly durationMs: number
  readonly outcome: 'done' | 'refused' | 'client-gone' | 'broken'
  readonly err?: string
}

/**
 * Follows a request until its answer has ended, and then calls `finished` once. It listens to the response itself: after `reply.hijack()`
 * Fastify runs no `onResponse` hook for an answer that breaks off, and `onRequestAbort` does not tell our own `destroy()` from the client's.
 */
export function openExchange(
  request: FastifyRequest,
  reply: FastifyReply,
  open: OpenRequests,
  finished: (exchange: FinishedExchange) => void,
): Exchange {
  const began = performance.now()
  const controller = new AbortController()
  const response = reply.raw
  const exchange: Exchange = { request, reply, response, signal: controller.signal, fields: {} }
  let hasEnded = false
  const end = () => {
    // The connection and the response of a pipelined request may both report the end.
    if (hasEnded) return
    hasEnded = true
    forget()
    const isWhole = response.writableFinished
    const { failure } = exchange
    if (!isWhole && failure?.outcome !== 'broken') controller.abort(new Error('the client has gone'))
    const outcome = failure?.outcome === 'broken' ? 'broken' : isWhole ? (failure?.outcome ?? 'done') : 'client-gone'
    const shares = exchange.fields.shares ?? []
    finished({
      ...exchange.fields,
      method: request.method,
      status: response.statusCode,
      bytes: shares.reduce((sum, share) => sum + share.bytes, 0),
      durationMs: Math.round(performance.now() - began),
      outcome,
      ...(failure === undefined ? {} : { err: errorText(failure.error) }),
    })
  }
  // A pipelined response that is still queued emits nothing when its connection closes.
  const forget = open.add(request.raw.socket, end)
  response.once('close', end)
  // A request that waited for the daemon to be ready: its connection has closed, and reports nothing any more.
  if (request.raw.socket.destroyed) queueMicrotask(end)
  // Errors of a closed socket appear where it is written to.
  response.on('error', () => {})
  return exchange
}

/** Ends an answer whose head is sent. FIN, not RST: containerd then continues at this byte with its next host. */
export function breakOff(exchange: Exchange, error: unknown, outcome: 'broken' | 'client-gone' = 'broken'): void {
  if (exchange.signal.aborted || exchange.failure !== undefined) return
  // A write fails before the response reports that the client has closed the connection.
  if (exchange.request.raw.socket.destroyed) return
  exchange.failure = { outcome, error }
  exchange.response.destroy()
}
