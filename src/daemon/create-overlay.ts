import type { Ed25519PrivateKey } from '@libp2p/interface'

import type { ServeConfig } from '../config/serve-config.ts'
import type { HttpRequests } from '../http-client/http-requests.ts'
import { createBootstrap } from '../overlay/bootstrap/create-bootstrap.ts'
import { Libp2pOverlay } from '../overlay/libp2p/libp2p-overlay.ts'
import type { BindRouter, KeptRouters } from '../overlay/libp2p/overlay-options.ts'
import type { PendingConnections } from '../overlay/libp2p/pending-connections.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { RefusedNode } from '../overlay/refused-nodes.ts'
import type { ClusterKeys } from '../authentication/cluster-secret.ts'
import type { Log } from '../telemetry/log.ts'

/** This node's place in the cluster. `peerPort` is the port that the peer listener got. */
export function createOverlay(
  config: ServeConfig,
  options: {
    identity: Ed25519PrivateKey
    secrets: readonly ClusterKeys[] | undefined
    peerPort: number
    requests: HttpRequests
    /** Limits the router's inbound connections before their handshake. */
    pending: PendingConnections
    bindRouter: BindRouter
    kept: KeptRouters
    onRefused: (refused: RefusedNode) => void
    log: Log
  },
): Overlay {
  return new Libp2pOverlay({
    listen: config.routerAddr,
    bind: options.bindRouter,
    kept: options.kept,
    advertise: config.advertiseAddr,
    peerPort: options.peerPort,
    bootstrap: createBootstrap(config.bootstrap, {
      requests: options.requests,
      ...(config.bootstrapDns === undefined ? {} : { dnsServer: config.bootstrapDns }),
    }),
    ...(options.secrets === undefined ? {} : { overlayKeys: options.secrets.map((secret) => secret.overlay) }),
    identity: options.identity,
    maxConnections: config.maxConnections,
    pending: options.pending,
    onRefused: options.onRefused,
    log: options.log,
  })
}
