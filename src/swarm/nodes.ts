import type { Peer } from '../overlay/overlay.ts'
import type { Member } from './messages.ts'
import type { NodeState } from './node.ts'

/** The nodes of a table, each for as long as it is in an item. */
export class Nodes {
  readonly #nodes = new Map<string, NodeState>()

  /** Takes in what a node says about itself. */
  hear(member: Member): NodeState {
    const node = this.of(member)
    node.peer = { id: member.id, address: member.address }
    node.remoteAddress = member.remoteAddress
    node.zone = member.zone
    node.sending = member.sending
    node.capacity = member.capacity
    node.handedOut = 0
    return node
  }

  /** A node of which the index alone has told: when it has enough to do, it says so to who asks. */
  of(peer: Peer): NodeState {
    return (
      this.#nodes.get(peer.id) ?? {
        peer: { id: peer.id, address: peer.address },
        remoteAddress: '',
        zone: undefined,
        sending: 0,
        capacity: Number.POSITIVE_INFINITY,
        handedOut: 0,
        busyUntil: Number.NEGATIVE_INFINITY,
        memberships: 0,
      }
    )
  }

  has(id: string): boolean {
    return this.#nodes.has(id)
  }

  enter(node: NodeState): void {
    if (node.memberships++ === 0) this.#nodes.set(node.peer.id, node)
  }

  exit(node: NodeState): void {
    if (--node.memberships === 0) this.#nodes.delete(node.peer.id)
  }
}
