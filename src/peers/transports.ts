import type { NodeCaller } from '../contracts/node-caller.ts'
import { NODE_PROTOCOL } from '../contracts/node-protocol.ts'
import type { IndexTransport } from '../providers/index-transport.ts'
import type { SwarmTransport } from '../swarm/swarm-transport.ts'

/** Carries the messages of the provider index by the node protocol. */
export function indexTransport(nodes: NodeCaller): IndexTransport {
  return {
    announce: (peer, message, options) => nodes.call(peer, NODE_PROTOCOL.announce, message, options),
    lookup: (peer, keys, options) => nodes.call(peer, NODE_PROTOCOL.lookup, keys, options),
  }
}

/** Carries the messages of the swarm by the node protocol. */
export function swarmTransport(nodes: NodeCaller): SwarmTransport {
  return {
    join: (peer, request, options) => nodes.call(peer, NODE_PROTOCOL.join, request, options),
    report: (peer, request, options) => nodes.call(peer, NODE_PROTOCOL.report, request, options),
  }
}
