import type { NodeCaller } from '../contracts/node-caller.ts'
import { NODE_PROTOCOL } from '../contracts/node-protocol.ts'
import type { IndexTransport } from '../providers/index-transport.ts'
import type { JoinMessage } from '../swarm/messages.ts'
import { type SwarmTransport, ForwardRefusedError } from '../swarm/swarm-transport.ts'
import type { JoinSignatures } from './join-signatures.ts'
import { PeerError } from './peer-transport.ts'

/** Carries the messages of the provider index by the node protocol. */
export function indexTransport(nodes: NodeCaller): IndexTransport {
  return {
    announce: (peer, message, options) => nodes.call(peer, NODE_PROTOCOL.announce, message, options),
    lookup: (peer, keys, options) => nodes.call(peer, NODE_PROTOCOL.lookup, keys, options),
  }
}

/** Carries the messages of the swarm by the node protocol. This node signs its own joins; those of other nodes are forwarded as they came. */
export function swarmTransport(nodes: NodeCaller, signatures: Pick<JoinSignatures, 'sign'>): SwarmTransport {
  return {
    join: (peer, { member, forwarded, ...request }, options) => {
      const { id, address, zone, sending, capacity } = member
      const message: JoinMessage = { ...request, member: { zone, sending, capacity } }
      const sent = forwarded ? { ...message, onBehalfOf: { id, address } } : signatures.sign(message, address)
      return nodes.call(peer, NODE_PROTOCOL.join, sent, options).catch((error: unknown) => {
        if (forwarded && error instanceof PeerError && error.status === 403)
          throw new ForwardRefusedError(`${peer.address} refuses the question that is forwarded for ${id}`, {
            cause: error,
          })
        throw error
      })
    },
    report: (peer, { member: { zone, sending, capacity }, ...report }, options) =>
      nodes.call(peer, NODE_PROTOCOL.report, { ...report, member: { zone, sending, capacity } }, options),
  }
}
