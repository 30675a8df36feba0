import type { PeerId, PeerInfo } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'

import { type KadId, kadIdOf } from '../distance.ts'
import { formatHostPort } from '../host-port.ts'
import type { Peer } from '../overlay.ts'
import { second } from '../../time/units.ts'
import { parseNodeAddress } from './addresses.ts'
import type { Host } from './host.ts'

/** A lookup is worth less than what waits for it. */
const LOOKUP_TIMEOUT_MS = 3 * second

/** The nodes near a key, as the DHT finds them; fewer if the time runs out, none if nobody answers. */
export async function findClosest(host: Host, key: Uint8Array): Promise<readonly { peer: Peer; kadId: KadId }[]> {
  const found: { peer: Peer; kadId: KadId }[] = []
  const signal = AbortSignal.timeout(LOOKUP_TIMEOUT_MS)
  try {
    for await (const event of host.services.dht.getClosestPeers(key, { signal })) {
      if (event.name !== 'FINAL_PEER') continue
      const peer = await memberOf(host, event.peer)
      if (peer !== undefined) found.push({ peer, kadId: kadIdOf(event.peer.id.toMultihash().bytes) })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return found
}

/** Takes a peer that is gone out of the routing table at once: by itself the DHT asks it until it times out. */
export function forgetInRoutingTable(host: Host, peerId: PeerId): void {
  // the class has the method, the published interface leaves it out
  const { routingTable } = host.services.dht as KadDHT & { routingTable?: { remove(peerId: PeerId): Promise<void> } }
  routingTable?.remove(peerId).catch(() => undefined)
}

async function memberOf(host: Host, { id, multiaddrs }: PeerInfo): Promise<Peer | undefined> {
  const known = multiaddrs.some((address) => parseNodeAddress(address)?.listener === 'peer')
    ? multiaddrs
    : await host.peerStore.get(id).then(
        (peer) => peer.addresses.map((address) => address.multiaddr),
        () => [],
      )
  const address = known.map(parseNodeAddress).find((parsed) => parsed?.listener === 'peer')
  return address === undefined ? undefined : { id: id.toString(), address: formatHostPort(address) }
}
