import { yamux } from '@chainsafe/libp2p-yamux'
import { type Identify, identify } from '@libp2p/identify'
import type { ComponentLogger, Libp2p, Logger } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { type Ping, ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'

import { second } from '../../time/units.ts'
import { mismatchEncrypters, noiseEncrypters } from './encrypters.ts'
import { announcement } from './listen-addresses.ts'
import type { Libp2pOverlayOptions } from './overlay-options.ts'
import { PendingConnections } from './pending-connections.ts'
import type { Transports } from './router-listener.ts'

const KAD_PROTOCOL = '/nabo/kad/1.0.0'

export type HostServices = { identify: Identify; ping: Ping; dht: KadDHT; transports: Transports }
export type Host = Libp2p<HostServices>

/** A libp2p host for a private cluster, not yet started. It listens nowhere until its `transports` are told to. */
export function createHost(options: Libp2pOverlayOptions): Promise<Host> {
  return createLibp2p({
    start: false,
    privateKey: options.identity,
    logger: silentLogger(),
    nodeInfo: { name: 'nabo', version: '1', userAgent: 'nabo/1' },
    addresses: {
      announceFilter: (bound) => announcement(options, bound),
    },
    transports: [tcp()],
    connectionEncrypters: [
      ...noiseEncrypters(options.overlayKeys),
      ...mismatchEncrypters((refused) => options.onRefused?.(refused)),
    ],
    streamMuxers: [yamux({ enableKeepAlive: false })],
    connectionManager: connectionLimits(options.maxConnections),
    connectionGater: options.pending ?? new PendingConnections(options),
    // the overlay's own heartbeat does it: this one costs milliseconds for each ping, and cuts whoever is late once
    connectionMonitor: { enabled: false },
    // addresses are as good as the connection they came by; the dialler forgets them
    peerStore: { maxAddressAge: Infinity, maxPeerAge: Infinity },
    services: { identify: identify(), ping: ping(), dht: kadDHT(dhtOptions()), transports: transportsOf },
  })
}

/** Only what {@link Transports} names: libp2p would start and stop the manager itself once more as a service. */
function transportsOf({ transportManager }: { transportManager: Transports }): Transports {
  return {
    listen: (addresses) => transportManager.listen(addresses),
    getListeners: () => transportManager.getListeners(),
  }
}

function connectionLimits(maxConnections: number) {
  return {
    // the overlay itself stops dialling at its limit: the rest is room for others' dials and for lookups
    maxConnections: maxConnections + Math.max(16, Math.ceil(maxConnections / 4)),
    // a whole cluster may come up at once, behind one address
    inboundConnectionThreshold: 1000,
    // The gater aborts the oldest pending connection before this many are pending; libp2p would refuse the new one.
    maxIncomingPendingConnections: 1024,
    maxParallelDials: 16,
    dialTimeout: 10 * second,
    addressDialTimeout: 5 * second,
    // A stranger's silent connection counts as pending for this long; a member needs a few round trips.
    inboundUpgradeTimeout: 5 * second,
  }
}

function dhtOptions() {
  // the defaults grow from 5 to 60 s behind frozen peers
  const timeout = { minTimeout: 2 * second, maxTimeout: 3 * second }
  return {
    protocol: KAD_PROTOCOL,
    clientMode: false,
    // the default mapper drops private addresses
    peerInfoMapper: passthroughMapper,
    // lookups are needed in large clusters only; while the connections are made the query would make more of them
    initialQuerySelfInterval: 5 * second,
    networkDialTimeout: timeout,
    pingOldContactTimeout: timeout,
    pingNewContactTimeout: timeout,
    // a stream above the limit is dropped without a word
    maxInboundStreams: 256,
    maxOutboundStreams: 256,
  }
}

/** libp2p's own logger costs CPU for each connection even when it is off; what matters is logged by the overlay. */
function silentLogger(): ComponentLogger {
  const nothing = () => undefined
  const logger: Logger = Object.assign(nothing, {
    error: nothing,
    trace: nothing,
    enabled: false,
    newScope: () => logger,
  })
  return { forComponent: () => logger }
}
