import { readFile } from 'node:fs/promises'

import { canonicalHost } from '../overlay/host-port.ts'

/** Linux's tables of routes: proc_net(5). */
const ROUTES = { ipv4: '/proc/net/route', ipv6: '/proc/net/ipv6_route' }

/** The gateways of this machine's default routes, or of this pod's; empty if there are none, or if they cannot be read. */
export async function defaultGateways(paths: Readonly<typeof ROUTES> = ROUTES): Promise<readonly string[]> {
  const read = (path: string) => readFile(path, 'utf8').catch(() => '')
  const [ipv4, ipv6] = await Promise.all([read(paths.ipv4), read(paths.ipv6)])
  return [...new Set([...gatewaysOf(ipv4, parseRoute), ...gatewaysOf(ipv6, parseRoute6)])]
}

function gatewaysOf(table: string, parse: (fields: readonly string[]) => string | undefined): string[] {
  return table.split('\n').flatMap((line) => parse(line.trim().split(/\s+/)) ?? [])
}

/** Interface, destination, gateway, flags, three counters, mask: addresses are hexadecimal, the last byte first. */
function parseRoute([, destination, gateway = '', , , , , mask]: readonly string[]): string | undefined {
  if (destination !== '00000000' || mask !== '00000000' || !/^[0-9A-F]{8}$/i.test(gateway)) return undefined
  const address = [...Buffer.from(gateway, 'hex').reverse()].join('.')
  return address === '0.0.0.0' ? undefined : address
}

/** Destination and its prefix, source and its prefix, gateway: addresses are 32 hexadecimal digits. */
function parseRoute6([destination = '', prefix, , , gateway = '']: readonly string[]): string | undefined {
  if (!/^0{32}$/.test(destination) || prefix !== '00' || !/^[0-9a-f]{32}$/i.test(gateway)) return undefined
  const address = canonicalHost((gateway.match(/.{4}/g) ?? []).join(':'))
  return address === '::' ? undefined : address
}
