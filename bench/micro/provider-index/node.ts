import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'

import { createAuthentication } from '../../../src/daemon/create-authentication.ts'
import { loadIdentity } from '../../../src/overlay/libp2p/identity.ts'
import { Libp2pOverlay } from '../../../src/overlay/libp2p/libp2p-overlay.ts'
import { indexTransport } from '../../../src/peers/transports.ts'
import { PeerClient } from '../../../src/peers/peer-client.ts'
import type { IndexOptions } from '../../../src/providers/index-options.ts'
import { ReplicatedIndex } from '../../../src/providers/replicated-index.ts'
import { listen } from './index-listener.ts'

export interface BenchNode {
  readonly overlay: Libp2pOverlay
  readonly index: ReplicatedIndex
  /** The requests that the node was sent since its start. */
  received(): number
  stop(): Promise<void>
}

const secrets = { overlay: randomBytes(32), peer: randomBytes(32) }
const silent = { debug: () => {}, info: () => {}, warn: () => {} }
const loopback = '127.0.0.1'

/** A node with the real overlay and real HTTP, and no content. It joins through `first`; without it it is the first. */
export async function createNode(first: BenchNode | undefined, options: Partial<IndexOptions>): Promise<BenchNode> {
  const identity = await loadIdentity(undefined)
  const server = await listen(() => ({ index, verifier }))
  let received = 0
  server.on('request', () => received++)
  const overlay = new Libp2pOverlay({
    listen: [{ host: loopback, port: 0 }],
    advertise: [loopback],
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- listen() listens on a TCP port
    peerPort: (server.address() as AddressInfo).port,
    bootstrap: {
      candidates: async () =>
        (first?.overlay.routers() ?? []).map((multiaddr) => ({ type: 'multiaddr' as const, multiaddr })),
    },
    overlayKeys: [secrets.overlay],
    identity,
    maxConnections: 300,
    log: silent,
  })
  const about = { addresses: [overlay.self.address], version: 'bench' } as const
  const { signer, verifier } = createAuthentication(identity, [secrets], about, silent)
  const client = new PeerClient({ signer, idleTimeout: 5_000 })
  const index = new ReplicatedIndex(overlay, indexTransport(client), options)
  await overlay.start()
  await index.start()
  return {
    overlay,
    index,
    received: () => received,
    stop: async () => {
      await index.stop({ signal: AbortSignal.timeout(1_000) })
      await overlay.stop()
      await client.close()
      server.closeAllConnections()
      server.close()
    },
  }
}
