import type { Peer } from '../overlay/overlay.ts'

/** The member that sent a message, as its proof says. */
export interface MessageSender extends Peer {
  /** The IP address of its connection: a key for budgets, not an identity. */
  readonly remoteAddress: string
}
