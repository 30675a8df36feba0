import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { HostPort } from '../overlay/host-port.ts'
import { ListenError } from '../overlay/listen-error.ts'

/** Listens; returns the address with the port that was taken. Throws ListenError; then the server may be given to another call. */
export async function listen(server: Server, address: HostPort, flag: string): Promise<HostPort> {
  // Of both events: a callback of `listen` would stay on the server after each failure.
  const listening = once(server, 'listening')
  // `[::]` is dual-stack, and must not fail on a machine without IPv6.
  server.listen({ host: address.host, port: address.port })
  try {
    await listening
  } catch (cause) {
    throw new ListenError(cause as NodeJS.ErrnoException, address, flag)
  }
  return { host: address.host, port: (server.address() as AddressInfo).port }
}

/** How often connections that have become idle are looked for while a server drains. */
const IDLE_CHECK = 50

/** Takes no new connections, and ends each that is there once it is idle; resolves when the last one has ended. */
export function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => server.closeIdleConnections(), IDLE_CHECK)
    server.close(() => {
      clearInterval(timer)
      resolve()
    })
  })
}
