import type { Multiaddr } from '@multiformats/multiaddr'

import type { HostPort } from '../host-port.ts'

/** Where a node that knows nobody learns of others. */
export interface BootstrapSource {
  /**
   * The nodes to try, this one perhaps among them. Rejects if the source cannot be asked; it is asked again later.
   * Every adapter has a deadline of its own besides the signal.
   */
  candidates(options: { signal: AbortSignal }): Promise<readonly BootstrapTarget[]>
}

/** A node's router address; the peer id is known only where a multiaddr names it. */
export type BootstrapTarget =
  | ({ readonly type: 'host' } & HostPort)
  | { readonly type: 'multiaddr'; readonly multiaddr: Multiaddr }
