import { createConnection } from 'node:net'

import { formatHostPort, type HostPort } from '../../overlay/host-port.ts'
import { second } from '../../time/units.ts'
import { askHttp } from '../ask-http.ts'
import { type Check, error, ok, warning } from '../check.ts'
import { isNabo } from '../mirror-occupant.ts'
import type { Node } from '../node.ts'

const CONNECT_TIMEOUT = 2 * second

/** Whether Nabo listens, or could. */
export const portsCheck: Check = {
  id: 'ports',
  title: 'ports',
  async run(node, signal) {
    const daemon = await node.daemon()
    if (daemon.state === 'running') {
      const where = [
        `${daemon.mirror.join(', ')} (mirror)`,
        `${daemon.peer.join(', ')} (peer)`,
        `${daemon.admin.join(', ')} (admin)`,
      ]
      const says = `Nabo listens on ${where.join(', ')}`
      if (daemon.ready) return ok(says)
      return error(`Nabo runs, but is not ready: ${daemon.reasons.join('; ')}`, 'put that right; its log says more')
    }
    const listeners = addresses(node)
    const taken = await Promise.all(listeners.map(async (one) => ({ ...one, isTaken: await answers(one.address) })))
    const busy = taken.filter(({ isTaken, address }) => isTaken && address.port !== 0)
    if (busy.length === 0) return warning('Nabo does not run on this node; its ports are free', 'start it: nabo serve')
    const mirror = busy.find(({ flag }) => flag === '--mirror-addr')
    if (mirror !== undefined && (await isMirror(mirror.address, signal))) {
      const admin = node.settings.adminAddr.map(formatHostPort).join(', ')
      return warning(
        `a Nabo answers at ${formatHostPort(mirror.address)}, but not at ${admin}${daemon.state === 'strange' ? `: ${daemon.says}` : ''}`,
        'give nabo doctor the flags that nabo serve has, --admin-addr above all',
      )
    }
    const says = busy.map(({ flag, address }) => `${formatHostPort(address)} (${flag})`).join(', ')
    const first = busy[0]
    return error(
      `another program listens on ${says}`,
      `see which one with ss -ltnp 'sport = :${first?.address.port}' and end it, or choose another ${first?.flag}`,
    )
  },
}

function addresses({ settings }: Node): readonly { readonly flag: string; readonly address: HostPort }[] {
  const { mirrorAddr, peerAddr, routerAddr, adminAddr } = settings
  return [
    ...mirrorAddr.map((address) => ({ flag: '--mirror-addr', address })),
    ...peerAddr.map((address) => ({ flag: '--peer-addr', address })),
    ...routerAddr.map((address) => ({ flag: '--router-addr', address })),
    ...adminAddr.map((address) => ({ flag: '--admin-addr', address })),
  ]
}

/** By a connection: to take the port for a moment could keep a daemon from starting. */
function answers({ host, port }: HostPort): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = createConnection({ host: reachable(host), port, timeout: CONNECT_TIMEOUT })
    const finish = (isTaken: boolean) => {
      connection.destroy()
      resolve(isTaken)
    }
    connection.once('connect', () => finish(true))
    connection.once('timeout', () => finish(false))
    connection.once('error', () => finish(false))
  })
}

function reachable(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? 'localhost' : host
}

/** Whether Nabo's mirror answers at an address. */
async function isMirror(address: HostPort, signal: AbortSignal): Promise<boolean> {
  const url = new URL(`http://${formatHostPort({ ...address, host: reachable(address.host) })}/v2/`)
  const answer = await askHttp(url, { headers: { 'user-agent': 'nabo' }, signal }).catch(() => undefined)
  return answer !== undefined && isNabo(answer)
}
