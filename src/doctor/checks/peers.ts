import { errorText } from '../../telemetry/log.ts'
import { listed } from '../listed.ts'
import { type Check, ok, unknown, warning } from '../check.ts'
import { isSilent, silentFix } from '../neighbours.ts'

/** Whether this node has found the others. */
export const peersCheck: Check = {
  id: 'peers',
  title: 'other nodes',
  async run(node) {
    const daemon = await node.daemon()
    if (daemon.state !== 'running') return undefined
    const others = daemon.refusedNodes.flatMap(({ host, mismatch }) => (mismatch === 'version' ? [host] : []))
    if (others.length > 0)
      return warning(
        `${listed(others)} cannot join: the version of the protocol between nodes is another one than here`,
        'run the same version of Nabo on all nodes (nabo --version)',
      )
    if (daemon.peerCount > 0) {
      const count = daemon.peerCount === 1 ? 'one other node' : `${daemon.peerCount} other nodes`
      const neighbours = await node.neighbours()
      const silent = neighbours.filter(isSilent)
      const [first] = silent
      if (first !== undefined)
        return warning(
          `no answer from ${silent.length} of ${neighbours.length} other nodes: ${first.address}: ${first.failure}`,
          silentFix(first.address),
        )
      return ok(`${count}: ${listed(neighbours.map(({ address }) => address))}`)
    }
    // The check of the secret names these nodes.
    if (daemon.refusedNodes.some(({ mismatch }) => mismatch === 'secret')) return undefined
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
    const named = candidates.filter(({ isSelf }) => !isSelf)
    if (named.length === 0 && candidates.length > 0) return ok('--bootstrap names this node alone')
    if (named.length === 0)
      return warning('no other node is known: --bootstrap names none', 'check the name or the list of --bootstrap')
    const open = named.find(({ failure }) => failure === undefined)
    if (open !== undefined)
      return warning(
        `no other node is known, though ${open.address} can be reached`,
        'compare the cluster secret of the two nodes, and look into the log of both; a node that starts needs some seconds',
      )
    const first = named[0]
    if (first === undefined) return unknown('no other node is known')
    return warning(
      `no other node is known: ${first.address} cannot be reached (${first.failure})`,
      'start Nabo there, and let the nodes reach each other at ports 7951 and 7952 (--peer-addr, --router-addr)',
    )
  },
}
