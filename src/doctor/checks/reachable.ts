import { isLoopbackHost, parseHostPort } from '../../overlay/host-port.ts'
import { type Check, error, ok, type Outcome, seenBy, warning } from '../check.ts'
import { reachableFix } from '../neighbours.ts'
import type { DaemonLook } from '../node.ts'

type RunningDaemon = Extract<DaemonLook, { state: 'running' }>

/** Whether this node has an address for other nodes, and they reach it there, as they say. */
export const reachableCheck: Check = {
  id: 'reachable',
  title: 'reachable by other nodes',
  async run(node) {
    if (node.addressProblem !== undefined)
      return error(node.addressProblem, '--advertise-addr <an address of this machine in the network of the nodes>')
    const daemon = await node.daemon()
    if (daemon.state !== 'running') return undefined
    const loopback = toldLoopback(daemon)
    if (loopback !== undefined) return loopback
    const neighbours = (await node.neighbours()).filter(({ answer }) => answer === 'ok')
    if (neighbours.length === 0) return undefined
    const at = daemon.self.address
    const cut = neighbours.filter(({ cannotReachUs }) => cannotReachUs !== undefined)
    const [first] = cut
    if (first === undefined) return ok(`other nodes reach this one at ${at} (${neighbours.length} asked)`)
    const says = `${cut.length} of ${neighbours.length} other nodes cannot reach this one at ${at}: ${first.cannotReachUs}`
    const outcome = (cut.length === neighbours.length ? error : warning)(says, reachableFix(at))
    return seenBy(
      cut.map(({ address }) => address),
      outcome,
    )
  },
}

/** A node whose ports other machines reach, but which tells them an address at which each finds itself. */
function toldLoopback({ self: { address }, listeners }: RunningDaemon): Outcome | undefined {
  const isLoopback = (text: string) => isLoopbackHost(parseHostPort(text, 0)?.host ?? '')
  if (!isLoopback(address) || [...listeners.peer, ...listeners.router].every(isLoopback)) return undefined
  return warning(
    `other nodes are told ${address}, which is loopback: each of them finds itself there`,
    '--advertise-addr <an address of this machine in the network of the nodes>, or --peer-addr and --router-addr on loopback',
  )
}
