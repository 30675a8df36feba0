import { peerIdFromString } from '@libp2p/peer-id'

import type { ServeConfig } from '../config/serve-config.ts'
import type { SendingLoad } from '../http/admission.ts'
import { kadIdOf } from '../overlay/distance.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { JoinSignatures } from '../peers/join-signatures.ts'
import type { PeerClient } from '../peers/peer-client.ts'
import { swarmTransport } from '../peers/transports.ts'
import type { ReplicatedIndex } from '../providers/replicated-index.ts'
import { ReplicatedSwarm } from '../swarm/replicated-swarm.ts'

/** This node's part in who fetches what. */
export function createSwarm(
  config: ServeConfig,
  parts: {
    overlay: Overlay
    index: ReplicatedIndex
    peers: PeerClient
    signatures: JoinSignatures
    load: () => SendingLoad
    upstreamRate: (registry: string) => number | undefined
  },
): ReplicatedSwarm {
  const { overlay, index, peers, signatures, load, upstreamRate } = parts
  return new ReplicatedSwarm(overlay, swarmTransport(peers, signatures), {
    replicas: config.indexReplicas,
    treeChildren: config.treeChildren,
    zone: config.zone,
    holders: (key) => index.handleLookup([key])[0] ?? [],
    disprove: (key, peer) => index.disprove(key, peer),
    load,
    upstreamRate,
    kadId: (peerId) => kadIdOf(peerIdFromString(peerId).toMultihash().bytes),
  })
}
