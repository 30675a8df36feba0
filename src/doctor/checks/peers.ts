import { errorText } from '../../telemetry/log.ts'
import { type Check, ok, unknown, warning } from '../check.ts'

const MAX_SAID = 5

/** Whether this node has found the others. */
export const peersCheck: Check = {
  id: 'peers',
  title: 'other nodes',
  async run(node) {
    const daemon = await node.daemon()
    if (daemon.state !== 'running') return undefined
    if (daemon.peers.length > 0) {
      const count = daemon.peers.length
      const silent = (await node.peers()).find(({ failure }) => failure?.kind === 'unreachable')
      if (silent !== undefined)
        return warning(
          `${count} other nodes are known, but the peer port of ${silent.address} cannot be reached: ${silent.failure?.says}`,
          'let the nodes reach each other at ports 7951 and 7952 (--peer-addr, --router-addr); check --advertise-addr there',
        )
      const names = daemon.peers.slice(0, MAX_SAID).map(({ address }) => address)
      return ok(
        `${count === 1 ? 'one other node' : `${count} other nodes`}: ${names.join(', ')}${count > MAX_SAID ? ', …' : ''}`,
      )
    }
    if (node.settings.bootstrap.type === 'none') return ok('this node is alone: there is no --bootstrap')
    let candidates
    try {
      candidates = await node.candidates()
    } catch (cause) {
      return warning(
        `no other node is known, and --bootstrap cannot be asked: ${errorText(cause)}`,
        'check the name or the URL of --bootstrap',
      )
    }
    const others = candidates.filter(({ isSelf }) => !isSelf)
    if (others.length === 0 && candidates.length > 0) return ok('--bootstrap names this node alone')
    if (others.length === 0)
      return warning('no other node is known: --bootstrap names none', 'check the name or the list of --bootstrap')
    const open = others.find(({ failure }) => failure === undefined)
    if (open !== undefined)
      return warning(
        `no other node is known, though ${open.address} can be reached`,
        'compare the cluster secret of the two nodes, and look into the log of both; a node that starts needs some seconds',
      )
    const first = others[0]
    if (first === undefined) return unknown('no other node is known')
    return warning(
      `no other node is known: ${first.address} cannot be reached (${first.failure})`,
      'start Nabo there, and let the nodes reach each other at ports 7951 and 7952 (--peer-addr, --router-addr)',
    )
  },
}
