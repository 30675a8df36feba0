import { type HostPort, isLoopbackHost } from '../overlay/host-port.ts'
import type { ServeConfig } from './serve-config.ts'

/** The addresses of the peer and router listeners that other machines may reach: those that are not loopback. */
export function openAddresses({ peerAddr, routerAddr }: Pick<ServeConfig, 'peerAddr' | 'routerAddr'>): HostPort[] {
  return [...peerAddr, ...routerAddr].filter(({ host }) => !isLoopbackHost(host))
}
