import { Agent, type RequestInit, type Response, fetch } from 'undici'

/** Fetches a path of the daemon that listens on a Unix socket. Each request has a connection of its own. */
export function fetchOver(socketPath: string, path: string, init: RequestInit = {}): Promise<Response> {
  const dispatcher = new Agent({ connect: { socketPath }, pipelining: 0 })
  return fetch(`http://localhost${path}`, { ...init, dispatcher })
}
