import { createConnection } from 'node:net'

import { formatHostPort, type HostPort, parseHostPort } from '../../overlay/host-port.ts'
import { second } from '../../time/units.ts'
import { askHttp } from '../ask-http.ts'
import { type Check, error, ok, type Outcome, warning } from '../check.ts'
import { containerdUnreachable } from '../../store/containerd/unreachable.ts'
import { isNabo } from '../mirror-occupant.ts'
import type { DaemonLook, Node } from '../node.ts'

const CONNECT_TIMEOUT = 2 * second
const LISTENERS = ['mirror', 'peer', 'router', 'admin', 'metrics'] as const

/** Whether Nabo listens on every address that it says or the settings name, or could. */
export const portsCheck: Check = {
  id: 'ports',
  title: 'ports',
  async run(node, signal) {
    const daemon = await node.daemon()
    if (daemon.state === 'running') return ofDaemon(node, daemon)
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

async function ofDaemon(node: Node, daemon: Extract<DaemonLook, { state: 'running' }>): Promise<Outcome> {
  const named = LISTENERS.flatMap((name) => daemon.listeners[name].map((text) => ({ name, text })))
  const socket = daemon.adminSocket === undefined ? [] : [`${daemon.adminSocket} (commands)`]
  const says = `Nabo listens on ${[...named.map(({ name, text }) => `${text} (${name})`), ...socket].join(', ')}`
  const reasons = await unexplained(node, daemon)
  if (reasons.length > 0)
    return error(`Nabo runs, but is not ready: ${reasons.join('; ')}`, 'put that right; its log says more')
  const silent = await Promise.all(
    named.map(async (one) => {
      const address = parseHostPort(one.text, 0)
      return address === undefined || address.port === 0 || (await answers(address)) ? undefined : one
    }),
  )
  const deaf = silent.filter((one) => one !== undefined)
  if (deaf.length > 0)
    return error(
      `Nabo runs, but nothing answers at ${deaf.map(({ name, text }) => `${text} (${name})`).join(', ')}`,
      'look for a firewall on this node, and into the log of the daemon',
    )
  const other = addresses(node).filter(({ name }) => daemon.listeners[name].length === 0)
  const first = other[0]
  if (first !== undefined)
    return warning(
      `${says}, but not on ${other.map(({ flag, address }) => `${formatHostPort(address)} (${flag})`).join(', ')}`,
      `give nabo serve and nabo doctor the same ${first.flag}`,
    )
  return ok(says)
}

/** Why the daemon is not ready, but for what the check of containerd says. */
async function unexplained(node: Node, daemon: Extract<DaemonLook, { state: 'running' }>): Promise<readonly string[]> {
  if (daemon.ready) return []
  const { state } = await node.containerd()
  const explained = containerdUnreachable(node.settings.containerdSocket)
  return state === 'answers' ? daemon.reasons : daemon.reasons.filter((reason) => !reason.startsWith(explained))
}

function addresses({ settings }: Node): readonly {
  readonly name: (typeof LISTENERS)[number]
  readonly flag: string
  readonly address: HostPort
}[] {
  const { mirrorAddr: mirror, peerAddr: peer, routerAddr: router, adminAddr: admin, metricsAddr: metrics } = settings
  const all = { mirror, peer, router, admin, metrics }
  return LISTENERS.flatMap((name) => all[name].map((address) => ({ name, flag: `--${name}-addr`, address })))
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
