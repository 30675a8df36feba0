import type { IndexKey, Peer } from '../overlay/overlay.ts'

/** Who holds what in the cluster, this node's own claims included. A claim is a hint: the peer itself has the last word. */
export interface ProviderIndex {
  start(): Promise<void>
  /** Withdraws this node's claims from the others, as far as they can be reached before the signal fires. */
  stop(options: { signal: AbortSignal }): Promise<void>
  /** Claims keys for this node. Batched and sent in the background; returns at once. */
  announce(keys: Iterable<IndexKey>): void
  /** Takes claims back. Batched as well. */
  withdraw(keys: Iterable<IndexKey>): void
  /** Peers that claim a key, without this node, in the order to try them. Takes at most one round trip; empty on any trouble. */
  find(key: IndexKey, options: { signal: AbortSignal }): Promise<readonly Peer[]>
  /** Drops a claim that proved wrong (the peer said 404). */
  disprove(key: IndexKey, peer: Peer): void
}
