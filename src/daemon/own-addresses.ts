import { createSocket } from 'node:dgram'
import { isIP, isIPv6 } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'

import type { ServeFlags } from '../config/serve-config.ts'
import type { BootstrapTarget } from '../overlay/bootstrap/bootstrap-source.ts'
import { createBootstrap } from '../overlay/bootstrap/create-bootstrap.ts'
import { isLoopbackAddress, isUnspecifiedAddress } from '../overlay/host-port.ts'
import { errorText } from '../telemetry/log.ts'
import { abortable } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** Addresses reserved for documentation: a datagram socket that is connected to one learns its own address and sends nothing. */
const ELSEWHERE = ['192.0.2.1', '2001:db8::1']
/** The discard port. Nothing is sent to it. */
const ANY_PORT = 9
/** A bootstrap source that does not answer must not delay the start for longer. */
const BOOTSTRAP_TIMEOUT = 3 * second
/** The routes to a few members show the same local addresses as the routes to all. */
const MAX_TARGETS = 16

/** No address of this machine is known to be reachable from other nodes: one sentence for its operator. */
export class NoAddressError extends Error {
  override readonly name = 'NoAddressError'
}

/**
 * The addresses at which other nodes reach this machine: the local addresses of its default routes; without one, those of the routes to the
 * nodes that `--bootstrap` names; else its only address. Throws {@link NoAddressError} if several addresses are left or none, since a node
 * that announces an address of which it knows nothing costs every pull of its neighbours a timeout.
 */
export async function findOwnAddresses(
  flags: Pick<ServeFlags, 'bootstrap' | 'bootstrapDns'>,
  interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces,
): Promise<readonly [string, ...string[]]> {
  const [first, ...others] = await routedFrom(ELSEWHERE)
  if (first !== undefined) return [first, ...others]
  const { hosts, failure } = await bootstrapHosts(flags)
  const [near, ...further] = preferred(await routedFrom(hosts))
  if (near !== undefined) return [near, ...further]
  const addresses = globalAddresses(interfaces())
  const [only4, ...more4] = addresses.filter((address) => !isIPv6(address))
  const [only6, ...more6] = addresses.filter((address) => isIPv6(address))
  if (more4.length === 0 && more6.length === 0) {
    const only = only4 ?? only6
    if (only !== undefined) return only4 !== undefined && only6 !== undefined ? [only4, only6] : [only]
  }
  const routes = failure === undefined ? 'a route to a node of --bootstrap' : `an answer of --bootstrap (${failure})`
  const choice = addresses.length === 0 ? 'no address but loopback' : `the addresses ${addresses.join(', ')}`
  throw new NoAddressError(
    `cannot tell at which address other nodes reach this machine: it has no default route, not ${routes}, and ${choice}; set --advertise-addr`,
  )
}

/** Loopback counts only if all nodes are on this machine. */
function preferred(addresses: readonly string[]): readonly string[] {
  const others = addresses.filter((address) => !isLoopbackAddress(address))
  return others.length > 0 ? others : addresses
}

async function bootstrapHosts({
  bootstrap,
  bootstrapDns,
}: Pick<ServeFlags, 'bootstrap' | 'bootstrapDns'>): Promise<{ hosts: readonly string[]; failure?: string }> {
  try {
    const source = createBootstrap(bootstrap, bootstrapDns === undefined ? {} : { dnsServer: bootstrapDns })
    const signal = AbortSignal.timeout(BOOTSTRAP_TIMEOUT)
    const targets = await abortable(source.candidates({ signal }), signal)
    return { hosts: targets.slice(0, MAX_TARGETS).flatMap((target) => hostOf(target) ?? []) }
  } catch (error) {
    return { hosts: [], failure: errorText(error) }
  }
}

function hostOf(target: BootstrapTarget): string | undefined {
  const host = target.type === 'host' ? target.host : target.multiaddr.getComponents()[0]?.value
  return host !== undefined && isIP(host) !== 0 ? host : undefined
}

/** The local addresses of the routes to these hosts, without repetitions. */
async function routedFrom(hosts: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(hosts.map(localAddress))
  return [...new Set(found.flatMap((address) => address ?? []))]
}

async function localAddress(host: string): Promise<string | undefined> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  const connected = new Promise<string>((resolve, reject) => {
    socket.once('error', reject)
    // Without a route Node calls back with the error; the socket's address is then 0.0.0.0.
    socket.connect(ANY_PORT, host, (error?: Error) => {
      if (error === undefined || error === null) resolve(socket.address().address)
      else reject(error)
    })
  })
  try {
    const address = await abortable(connected, AbortSignal.timeout(second))
    return isUnspecifiedAddress(address) ? undefined : address
  } catch {
    // No route to this host.
    return undefined
  } finally {
    socket.close()
  }
}

/** Addresses that are valid beyond one link. */
function globalAddresses(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): readonly string[] {
  const all = Object.values(interfaces).flatMap((infos) => infos ?? [])
  const isLinkLocal = (address: string) => /^fe[89ab]/i.test(address) || address.startsWith('169.254.')
  return all.filter(({ address, internal }) => !internal && !isLinkLocal(address)).map(({ address }) => address)
}
