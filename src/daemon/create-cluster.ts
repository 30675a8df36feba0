import type { Ed25519PrivateKey } from '@libp2p/interface'

import type { ClusterKeys } from '../authentication/cluster-secret.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import type { SendingLoad } from '../http/admission.ts'
import type { HttpRequests } from '../http-client/http-requests.ts'
import type { BufferPool } from '../mover/buffer-pool.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import { loadIdentity } from '../overlay/libp2p/identity.ts'
import type { BindRouter } from '../overlay/libp2p/overlay-options.ts'
import type { PendingConnections } from '../overlay/libp2p/pending-connections.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { RefusedNodes } from '../overlay/refused-nodes.ts'
import { PeerClient } from '../peers/peer-client.ts'
import type { QuotaExchange } from '../peers/quota-exchange.ts'
import { indexTransport } from '../peers/transports.ts'
import { ReplicatedIndex } from '../providers/replicated-index.ts'
import type { ReplicatedSwarm } from '../swarm/replicated-swarm.ts'
import { PacedWarnings } from '../telemetry/paced-warnings.ts'
import { VERSION } from '../version.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { type Authentication, createAuthentication } from './create-authentication.ts'
import { createOverlay } from './create-overlay.ts'
import { createSwarm } from './create-swarm.ts'
import { keepMembers } from './kept-members.ts'
import { type Quota, shareQuota } from './quota.ts'
import type { Teardown } from './teardown.ts'

/** This node's part in the cluster. */
export interface Cluster {
  readonly authentication: Authentication
  readonly overlay: Overlay
  /** The nodes of Nabo that could not join. */
  readonly refusedNodes: RefusedNodes
  readonly peers: PeerClient
  readonly index: ReplicatedIndex
  readonly swarm: ReplicatedSwarm
  readonly quotaExchange: QuotaExchange
}

const CLAIMS_IGNORED =
  'other nodes announce more content than this node keeps in its index, and the rest is ignored: pulls may go to the registry; if the nodes at this address hold less, one of them invents claims, so keep the host from the peer port'

interface ClusterParts {
  /** undefined in a cluster without a secret. */
  readonly secrets: readonly ClusterKeys[] | undefined
  readonly believesPeers: boolean
  /** The port that the peer listener got. */
  readonly peerPort: number
  readonly requests: HttpRequests
  readonly buffers: BufferPool
  readonly pending: PendingConnections
  readonly bindRouter: BindRouter
  readonly quota: Quota
  readonly load: () => SendingLoad
  readonly upstreamRate: (registry: string) => number | undefined
  readonly log: Log
}

/** Builds this node's part in the cluster, and starts nothing. */
export async function createCluster(config: ServeConfig, parts: ClusterParts, teardown: Teardown): Promise<Cluster> {
  const { secrets, believesPeers, peerPort, requests, buffers, quota, load, upstreamRate, log } = parts
  const { indexReplicas: replicas } = config
  const identity = await identityOf(config, log)
  // An address from before a reboot is worth little: --run-dir does not outlive one.
  const kept = await keepMembers(config.runDir ?? config.dataDir, log)
  teardown.add(() => kept.stop())
  const refusedNodes = new RefusedNodes(log)
  const overlay = createOverlay(config, { ...parts, identity, kept, onRefused: (refused) => refusedNodes.add(refused) })
  const [, ...others] = config.advertiseAddr
  const about = {
    addresses: [overlay.self.address, ...others.map((host) => formatHostPort({ host, port: peerPort }))],
    zone: config.zone,
    version: VERSION,
  } as const
  const authentication = createAuthentication(identity, secrets, about, log)
  const { signer, joins: signatures, members } = authentication
  const peers = new PeerClient({ signer, idleTimeout: config.upstreamTimeout, requests, buffers })
  teardown.add(() => peers.close())
  const warnings = new PacedWarnings<'claims'>(log)
  const index = new ReplicatedIndex(overlay, indexTransport(peers), {
    replicas,
    onIgnored: (address) => warnings.warn('claims', CLAIMS_IGNORED, () => ({ address, claims: index.stats().claims })),
  })
  const quotaExchange = shareQuota(quota, { overlay, nodes: believesPeers ? peers : undefined, replicas }, teardown)
  const swarm = createSwarm(config, { overlay, index, peers, signatures, load, upstreamRate })
  members.onReplaced((id) => {
    index.forget(id)
    swarm.forget(id)
  })
  return { authentication, overlay, refusedNodes, peers, index, swarm, quotaExchange }
}

/**
 * The identity in `--data-dir`, which the operator wants to last, else in `--run-dir`. The latter only spares the other nodes one identity more,
 * so the daemon starts without it if the directory cannot be used.
 */
async function identityOf({ dataDir, runDir }: ServeConfig, log: Log): Promise<Ed25519PrivateKey> {
  if (dataDir !== undefined) return loadIdentity(dataDir)
  try {
    return await loadIdentity(runDir, { replaceable: true })
  } catch (error) {
    log.warn({ err: errorText(error) }, 'the identity of this node is not kept: it has another one after a restart')
    return loadIdentity(undefined)
  }
}
