import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'

import { type HostPort, isLoopbackHost } from '../overlay/host-port.ts'
import { abortable } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** Addresses set aside for documentation: a datagram socket that is connected to one learns its own address and sends nothing. */
const ELSEWHERE = { udp4: '192.0.2.1', udp6: '2001:db8::1' } as const
const LOOPBACK = '127.0.0.1'

/** What peers are told when no flag says it: the addresses that are listened on if all are fixed, else those of the default routes, else loopback. */
export async function findAdvertisedHosts(listening: readonly HostPort[]): Promise<readonly string[]> {
  const hosts = listening.map(({ host }) => (isLoopbackHost(host) && isIP(host) === 0 ? LOOPBACK : host))
  const fixed = hosts.filter((host) => isIP(host) !== 0 && !isUnspecified(host))
  if (fixed.length === listening.length) return fixed
  const found = await Promise.all([localAddress('udp4'), localAddress('udp6')])
  const routed = found.filter((host) => host !== undefined)
  return routed.length === 0 ? [LOOPBACK] : routed
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || /^[0:]+$/.test(host)
}

async function localAddress(type: 'udp4' | 'udp6'): Promise<string | undefined> {
  const socket = createSocket(type)
  const connected = new Promise<string>((resolve, reject) => {
    socket.once('error', reject)
    socket.connect(9, ELSEWHERE[type], () => resolve(socket.address().address))
  })
  try {
    return await abortable(connected, AbortSignal.timeout(second))
  } catch {
    // No route in this address family.
    return undefined
  } finally {
    socket.close()
  }
}
