import type { Peer } from '../overlay/overlay.ts'

/** What is known of a node, whatever it fetches. */
export interface NodeState {
  peer: Peer
  /** See `Member`. Empty if the index alone has told of the node. */
  remoteAddress: string
  zone: string | undefined
  sending: number
  capacity: number
  /** Children given to it since it said how many transfers it serves. */
  handedOut: number
  /** It said itself that it has enough to do. */
  busyUntil: number
  /** In how many items it is. */
  memberships: number
}
