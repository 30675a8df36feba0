import type { Socket } from 'node:net'

import type { buildConnector } from 'undici'

interface SocketHistory {
  readonly connectedAt: number
  /** When the last byte came; undefined before the first one. */
  readonly lastByteAt: number | undefined
}

/**
 * Tells whether a request failed on a connection that its peer had already given up. Servers and proxies close idle connections, and a request
 * may be sent before that is noticed. Times are of the monotonic clock, in milliseconds.
 */
export class SocketHistories {
  /** By the error that ended the connection, which is also that of the request on it. */
  readonly #byError = new WeakMap<object, SocketHistory>()

  /** A connector whose sockets are watched. */
  watching(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) =>
      connect(options, (...result) => {
        const [error, socket] = result
        if (error === null) this.#watch(socket)
        callback(...result)
      })
  }

  /** True if `error` ended a connection that was there before the request began, and no byte came since. */
  isStale(error: unknown, requestedAt: number): boolean {
    const history = error instanceof Object ? this.#byError.get(error) : undefined
    return history !== undefined && history.connectedAt < requestedAt && (history.lastByteAt ?? 0) < requestedAt
  }

  #watch(socket: Socket): void {
    const connectedAt = performance.now()
    let lastByteAt: number | undefined
    // Before undici's own listener, which takes the bytes.
    socket.on('readable', () => {
      if (socket.readableLength > 0) lastByteAt = performance.now()
    })
    socket.once('error', (error) => this.#byError.set(error, { connectedAt, lastByteAt }))
  }
}
