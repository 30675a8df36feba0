import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import { type HostPort, formatHostPort } from '../overlay/host-port.ts'

/** Listens; returns the address with the port that was taken. Throws an Error with one sentence for the operator. */
export async function listen(server: Server, address: HostPort, flag: string): Promise<HostPort> {
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException) => reject(new Error(explain(cause, address, flag), { cause }))
    server.once('error', onError)
    // `[::]` is dual-stack, and must not fail on a machine without IPv6.
    server.listen({ host: address.host, port: address.port }, () => {
      server.off('error', onError)
      resolve()
    })
  })
  return { host: address.host, port: (server.address() as AddressInfo).port }
}

function explain(error: NodeJS.ErrnoException, address: HostPort, flag: string): string {
  const where = formatHostPort(address)
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where} is taken by another program: end it, or choose another address with ${flag}`
    case 'EACCES':
      return `${where} needs a right that this user does not have: choose a port above 1023 with ${flag}`
    case 'EADDRNOTAVAIL':
      return `${where} is no address of this machine: check ${flag}`
    default:
      return `${where} cannot be listened on (${error.code}): check ${flag}`
  }
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
