import { createServer, type RequestListener, type Server } from 'node:http'

import { minute, second } from '../time/units.ts'
import { refuseInvalidRequests } from './invalid-requests.ts'
import type { OpenRequests } from './open-requests.ts'
import { limitPipelining } from './pipelining.ts'

/** Time for a client to send its request. It does not limit answers. */
const REQUEST_TIMEOUT = 30 * second
/** A client that takes no byte for this long is gone. */
const SOCKET_TIMEOUT = 5 * minute
/** Far above the connections of a cluster, far below the descriptors of a process. */
const MAX_CONNECTIONS = 4096
const KEEP_ALIVE = 75 * second

export interface ServerLimits {
  /** Bytes of a request's line and headers. */
  readonly maxHeaderSize: number
  /** Interval at which Node looks for requests beyond their timeout, in milliseconds: such a request ends this much later at most. */
  readonly checkInterval: number
}

/** 32 KiB for long URLs of clients; the interval is Node's default. */
const LOCAL_LIMITS: ServerLimits = { maxHeaderSize: 32 * 1024, checkInterval: 30 * second }
/**
 * The longest head between nodes is below 4 KiB: a path of two names of 255 characters and a digest, the proof, `Nabo-Path`. Strangers reach
 * the peer listener: a short head bounds the memory that they can take, a short interval the time that an unfinished request takes.
 */
export const PEER_LIMITS: ServerLimits = { maxHeaderSize: 16 * 1024, checkInterval: 5 * second }

/** A server with the limits that all listeners share. `route` answers every valid request; invalid ones are refused here. */
export function createHttpServer(
  route: RequestListener,
  open: OpenRequests,
  { maxHeaderSize, checkInterval }: ServerLimits = LOCAL_LIMITS,
): Server {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: REQUEST_TIMEOUT,
      keepAliveTimeout: KEEP_ALIVE,
      maxHeaderSize,
      connectionsCheckingInterval: checkInterval,
      noDelay: true,
      // Node would refuse HTTP/1.1 without Host by a 400 without a body, and no route needs the header.
      requireHostHeader: false,
    },
    limitPipelining(route),
  )
  server.timeout = SOCKET_TIMEOUT
  server.maxConnections = MAX_CONNECTIONS
  refuseInvalidRequests(server, open)
  return server
}
