import type { ServeConfig } from '../config/serve-config.ts'
import type { HttpRequests } from '../http-client/http-requests.ts'
import { createBootstrap } from '../overlay/bootstrap/create-bootstrap.ts'
import { loadIdentity } from '../overlay/libp2p/identity.ts'
import { Libp2pOverlay } from '../overlay/libp2p/libp2p-overlay.ts'
import type { PendingConnections } from '../overlay/libp2p/pending-connections.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { ClusterKeys } from '../peers/cluster-secret.ts'
import type { Log } from '../telemetry/log.ts'
import { findAdvertisedHosts } from './advertised-hosts.ts'

/** This node's place in the cluster. `peerPort` is the port that the peer listener got. */
export async function createOverlay(
  config: ServeConfig,
  options: {
    secrets: readonly ClusterKeys[] | undefined
    peerPort: number
    requests: HttpRequests
    /** Limits the router's inbound connections before their handshake. */
    pending: PendingConnections
    log: Log
  },
): Promise<Overlay> {
  const advertise = config.advertiseAddr.length > 0 ? config.advertiseAddr : await findAdvertisedHosts(config.peerAddr)
  return new Libp2pOverlay({
    listen: config.routerAddr,
    advertise,
    peerPort: options.peerPort,
    bootstrap: createBootstrap(config.bootstrap, {
      requests: options.requests,
      ...(config.bootstrapDns === undefined ? {} : { dnsServer: config.bootstrapDns }),
    }),
    ...(options.secrets === undefined ? {} : { overlayKeys: options.secrets.map((secret) => secret.overlay) }),
    identity: await loadIdentity(config.dataDir),
    maxConnections: config.maxConnections,
    pending: options.pending,
    log: options.log,
  })
}
