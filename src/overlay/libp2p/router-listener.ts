import { createServer, isIP } from 'node:net'

import type { Multiaddr } from '@multiformats/multiaddr'

import type { HostPort } from '../host-port.ts'
import { ListenError } from '../listen-error.ts'
import { parseNodeAddress } from './addresses.ts'
import { transportAddresses } from './listen-addresses.ts'

const FLAG = '--router-addr'

/** The slice of libp2p's transport manager that opens listeners while the host runs. */
export interface Transports {
  listen(addresses: Multiaddr[]): Promise<void>
  getListeners(): { getAddrs(): Multiaddr[] }[]
}

/** Opens one address for the router; returns it with the port that was taken. Throws ListenError. */
export async function openRouter(
  transports: Transports,
  address: HostPort,
  all: readonly HostPort[],
): Promise<HostPort> {
  // libp2p's errors have no code, and a listener that fails stays in its list: one for each try.
  await probeRouter(address)
  const before = new Set(transports.getListeners())
  await transports.listen(transportAddresses(address, all))
  const opened = transports.getListeners().filter((listener) => !before.has(listener))
  const ports = opened.flatMap((listener) => listener.getAddrs()).flatMap((one) => parseNodeAddress(one)?.port ?? [])
  return { host: address.host, port: ports[0] ?? address.port }
}

/** Throws ListenError if the router cannot listen on an address now. */
export async function probeRouter({ host, port }: HostPort): Promise<void> {
  // The router has a socket of its own for IPv4, and does without IPv6 where there is none.
  const hosts = host === '::' ? ['0.0.0.0', '::'] : [host]
  for (const one of hosts) {
    const { code } = (await failureOf({ host: one, port })) ?? {}
    if (code === undefined || (one === '::' && code !== 'EADDRINUSE')) continue
    throw new ListenError(Object.assign(new Error(code), { code }), { host, port }, FLAG)
  }
}

/** Binds for a moment. */
function failureOf({ host, port }: HostPort): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve) => {
    server.once('error', resolve)
    server.listen({ host, port, ipv6Only: isIP(host) === 6 }, () => server.close(() => resolve(undefined)))
  })
}
