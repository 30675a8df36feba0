import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

import type { TransferShare } from '../delivery/blobs/transfer-record.ts'
import { OciError } from '../oci/errors.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { minute, second } from '../time/units.ts'
import { refuseInvalidRequests } from './invalid-requests.ts'

/** One request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Fires when the client goes before the answer has ended. */
  readonly signal: AbortSignal
  /** What the request's log line says besides method, status and time. */
  readonly fields: ExchangeFields
}

export interface ExchangeFields {
  kind?: string
  repository?: string
  reference?: string
  digest?: string
  /** Where the bytes came from. */
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

export interface ListenerOptions {
  handle(exchange: Exchange): Promise<void>
  /** Told of each exchange when it has ended: for the log and the metrics. */
  finished(exchange: FinishedExchange): void
  readonly log: Log
}

/** The time that a client has to send its request; answers are not limited by it. */
const REQUEST_TIMEOUT = 30 * second
/** A client that takes no byte for so long is gone. */
const SOCKET_TIMEOUT = 5 * minute
/** Far above what a cluster opens, far below what a process may hold. */
const MAX_CONNECTIONS = 4096
const KEEP_ALIVE = 75 * second

/** A server whose handler throws OciErrors: they are written here and nowhere else, and no stack trace ever leaves. */
export function createListener(options: ListenerOptions): Server {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: REQUEST_TIMEOUT,
      keepAliveTimeout: KEEP_ALIVE,
      maxHeaderSize: 32 * 1024,
      noDelay: true,
      // Nothing here depends on it, and its absence would be refused without a body.
      requireHostHeader: false,
    },
    (request, response) => void serve(options, request, response),
  )
  server.timeout = SOCKET_TIMEOUT
  server.maxConnections = MAX_CONNECTIONS
  refuseInvalidRequests(server)
  return server
}

async function serve(options: ListenerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const began = performance.now()
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new Error('the client has gone'))
  })
  // Errors of a socket that has gone show up where it is written to.
  response.on('error', () => {})
  const exchange: Exchange = { request, response, signal: controller.signal, fields: {} }
  let outcome: FinishedExchange['outcome'] = 'done'
  let failure: unknown
  try {
    await options.handle(exchange)
  } catch (error) {
    failure = error
    outcome = controller.signal.aborted ? 'client-gone' : refuse(response, error, options.log)
  }
  const shares = exchange.fields.shares ?? []
  options.finished({
    ...exchange.fields,
    method: request.method ?? '',
    status: response.statusCode,
    bytes: shares.reduce((sum, share) => sum + share.bytes, 0),
    durationMs: Math.round(performance.now() - began),
    outcome,
    ...(failure === undefined ? {} : { err: errorText(failure) }),
  })
}

function refuse(response: ServerResponse, error: unknown, log: Log): 'refused' | 'broken' {
  if (response.headersSent) {
    // FIN, not RST: containerd then goes on at this byte with its next host.
    response.destroy()
    return 'broken'
  }
  if (!(error instanceof OciError)) log.error({ err: errorText(error) }, 'a request failed unexpectedly')
  const answer = error instanceof OciError ? error : new OciError('UNKNOWN')
  const body = answer.body()
  for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value)
  response.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  response.end(response.req.method === 'HEAD' ? undefined : body)
  return 'refused'
}
