import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Requests of one connection whose answers have not been sent. No client of Nabo pipelines; Node parses thousands of requests from one read of
 * 64 KiB and keeps them all, some 4 KiB each, while their sender reads no answer.
 */
const MAX_OPEN = 8

/** A route whose connections end when they have too many requests open: those beyond the limit do not reach it. */
export function limitPipelining(route: RequestListener): RequestListener {
  const openBySocket = new WeakMap<Socket, number>()
  return (request, response) => {
    const { socket } = request
    const open = (openBySocket.get(socket) ?? 0) + 1
    if (open > MAX_OPEN) {
      socket.destroy()
      return
    }
    openBySocket.set(socket, open)
    response.once('close', () => openBySocket.set(socket, (openBySocket.get(socket) ?? 1) - 1))
    route(request, response)
  }
}
