import type { Duplex } from 'node:stream'

/** The unanswered requests of each connection: several if the client pipelines. */
export class OpenRequests {
  readonly #bySocket = new WeakMap<Duplex, Set<() => void>>()

  /** Calls `onClose` once if the connection closes first. Returns a function that removes it. */
  add(socket: Duplex, onClose: () => void): () => void {
    const open = this.#bySocket.get(socket) ?? this.#track(socket)
    open.add(onClose)
    return () => void open.delete(onClose)
  }

  /** Whether the connection has a request without an answer. */
  has(socket: Duplex): boolean {
    return (this.#bySocket.get(socket)?.size ?? 0) > 0
  }

  #track(socket: Duplex): Set<() => void> {
    const open = new Set<() => void>()
    this.#bySocket.set(socket, open)
    socket.once('close', () => {
      for (const onClose of [...open]) onClose()
      open.clear()
    })
    return open
  }
}
