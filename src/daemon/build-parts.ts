import { isIP } from 'node:net'
import { resolve } from 'node:path'

import type { Logger } from 'pino'

import type { ServeConfig } from '../config/serve-config.ts'
import type { Readiness } from '../http/admin-handlers.ts'
import { DeliveryCounters } from '../delivery/blobs/delivery-counters.ts'
import { UpstreamRates } from '../delivery/blobs/upstream-rates.ts'
import { Admission } from '../http/admission.ts'
import { MirrorSources } from '../http/mirror-sources.ts'
import { OpenRequests } from '../http/open-requests.ts'
import { StrangerConnections } from '../http/stranger-connections.ts'
import { HttpRequests } from '../http-client/http-requests.ts'
import { SystemTrust } from '../http-client/system-trust.ts'
import { BufferPool } from '../mover/buffer-pool.ts'
import type { IsMirror } from '../oci/reference.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import type { BindRouter } from '../overlay/libp2p/overlay-options.ts'
import { PendingConnections } from '../overlay/libp2p/pending-connections.ts'
import type { ClusterKeys } from '../authentication/cluster-secret.ts'
import { probeRouter } from '../overlay/libp2p/router-listener.ts'
import { Provenance } from '../delivery/access/provenance.ts'
import { defaultAdminSocket } from '../config/admin-socket.ts'
import { MirrorTraffic } from '../warm/mirror-traffic.ts'
import { Metrics } from './metrics.ts'
import { errorText } from '../telemetry/log.ts'
import { AddressBinder } from './address-binder.ts'
import { countBlobs } from './admin-views.ts'
import { type ChosenStore, createStore } from './create-store.ts'
import { type OwnedUpstream, createUpstream } from './create-upstream.ts'
import { type Cluster, createCluster } from './create-cluster.ts'
import { defaultGateways } from './default-gateways.ts'
import { observeListeners } from './listener-metrics.ts'
import { Listeners } from './listeners.ts'
import { listenerHosts, mirrorNames } from './mirror-names.ts'
import { RegistryLabels } from './registry-labels.ts'
import { type Quota, createQuota } from './quota.ts'
import { observeStrangers } from './stranger-metrics.ts'
import type { Teardown } from './teardown.ts'
import { registryPolicy } from './use-cases.ts'

/** The parts of the daemon below its use cases. */
export interface Parts extends Cluster {
  readonly chosen: ChosenStore
  /** Sources of the content that passed through this process. */
  readonly provenance: Provenance
  readonly buffers: BufferPool
  readonly owned: OwnedUpstream
  readonly quota: Quota
  /**
   * True in a cluster with a secret. Without one, any host may be a node: then nothing is believed that another node says about tags, public
   * access, quotas or orders.
   */
  readonly believesPeers: boolean
  readonly listeners: Listeners
  readonly open: OpenRequests
  /** The connections of the peer listener that have not proved membership. */
  readonly strangers: StrangerConnections
  readonly binder: AddressBinder
  /** The addresses that the router listens on. */
  readonly routers: readonly string[]
  /** Path of the Unix socket for commands; undefined without one. */
  readonly adminSocket: string | undefined
  readonly admission: Admission
  readonly rates: UpstreamRates
  readonly counters: DeliveryCounters
  readonly registryLabels: RegistryLabels
  readonly metrics: Metrics
  /** Whether a registry name addresses the mirror itself. */
  readonly isMirror: IsMirror
  readonly isMirrorHost: (host: string) => boolean
  /** Counts the answers of the mirror for warm jobs. */
  readonly traffic: MirrorTraffic
  readonly readiness: (options?: { ignoreStopping: boolean }) => Readiness
}

interface BuildOptions {
  readonly log: Logger
  /** Ends the waiting for ports. */
  readonly signal: AbortSignal | undefined
  /** undefined in a cluster without a secret. */
  readonly secrets: readonly ClusterKeys[] | undefined
  readonly teardown: Teardown
  /** Whether the daemon is ending: it is not ready then. */
  readonly isStopping: () => boolean
}

/** Creates the parts, and binds the listeners first: the overlay announces the port of the peer listener. Nothing is started. */
export async function buildParts(
  config: ServeConfig,
  { log, secrets, teardown, signal, isStopping }: BuildOptions,
): Promise<Parts> {
  const strangers = new StrangerConnections({ log })
  const open = new OpenRequests()
  const sources = await mirrorSources(config, log)
  const binder = new AddressBinder({ log, portWait: config.portWait, signal })
  const listeners = new Listeners(open, { peer: strangers, mirror: sources }, binder)
  // Last: probes are answered until the end.
  teardown.add(() => listeners.close())
  teardown.add(() => binder.stop())
  const isMirror = mirrorNames({ bound: () => listeners.bound.mirror })
  const provenance = new Provenance()
  const isMirrorHost = listenerHosts({ bound: () => listeners.bound.mirror })
  const chosen = await createStore(config, {
    isMirror,
    isMirrorHost,
    sourcesOf: (digest) => provenance.of(digest),
    log,
  })
  const pending = new PendingConnections({ log })
  const readiness = ({ ignoreStopping } = { ignoreStopping: false }) =>
    ignoreStopping && isStopping() ? NOTHING_WRONG : readinessOf({ chosen, strangers, pending, binder, isStopping })
  const registryLabels = new RegistryLabels(registryPolicy(config))
  const metrics = new Metrics(
    {
      isReady: () => readiness().ready,
      peers: () => overlay.peers().length,
      storedBlobs: () => countBlobs(chosen),
      index: () => index.stats(),
    },
    registryLabels,
  )
  observeListeners(metrics.registry, binder, sources)
  observeStrangers(metrics.registry, { peer: strangers, router: pending }, () => cluster)
  const quota = createQuota(log, teardown)
  const trust = new SystemTrust(process.env, log)
  const owned = await createUpstream(config, {
    observe: (event) => metrics.upstreamRequest(event),
    quota: quota.gate,
    trust,
    log,
  })
  teardown.add(() => owned.close())
  const buffers = new BufferPool()
  const requests = new HttpRequests({ idleTimeout: config.upstreamTimeout, trust })
  teardown.add(() => requests.close())
  const traffic = new MirrorTraffic()
  const peerPort = await openListeners(config, listeners, binder)
  const adminSocket = await openAdminSocket(config, listeners, log)
  const admission = new Admission(config.peerMaxTransfers)
  const rates = new UpstreamRates()
  const [load, upstreamRate] = [() => admission.load(), (registry: string) => rates.of(registry)]
  const believesPeers = secrets !== undefined
  const { routers, bindRouter } = routerBinding(binder)
  const reached = { peerPort, bindRouter, pending }
  const given = { ...reached, secrets, believesPeers, requests, buffers, quota, load, upstreamRate, log }
  const cluster = await createCluster(config, given, teardown)
  const { overlay, index } = cluster
  const counters = new DeliveryCounters()
  const known = {
    ...cluster,
    quota,
    rates,
    counters,
    isMirror,
    isMirrorHost,
    buffers,
    provenance,
    registryLabels,
    open,
    strangers,
    binder,
    routers,
    adminSocket,
    believesPeers,
  }
  return { ...known, chosen, owned, listeners, admission, metrics, traffic, readiness }
}

async function mirrorSources({ mirrorFrom }: ServeConfig, log: Logger): Promise<MirrorSources> {
  if (mirrorFrom.length === 0) return new MirrorSources(undefined, log)
  const gateways = mirrorFrom.includes('gateway') ? await defaultGateways() : []
  if (mirrorFrom.includes('gateway') && gateways.length === 0)
    log.warn({}, '--mirror-from gateway stands for no address: this machine has no default route with a gateway')
  const networks = mirrorFrom.filter((source) => source !== 'gateway')
  const single = gateways.map((address) => ({ address, prefix: isIP(address) === 6 ? 128 : 32 }))
  return new MirrorSources([...single, ...networks], log)
}

/** Of a daemon that is stopping: its parts end one by one, which is no fault. */
const NOTHING_WRONG: Readiness = { ready: true, reasons: [], warnings: [] }

interface ReadinessParts {
  readonly chosen: ChosenStore
  readonly strangers: StrangerConnections
  readonly pending: PendingConnections
  readonly binder: AddressBinder
  readonly isStopping: () => boolean
}

function readinessOf({ chosen, strangers, pending, binder, isStopping }: ReadinessParts): Readiness {
  const status = chosen.store.status()
  const reasons = [
    ...(isStopping() ? ['the daemon is stopping'] : []),
    ...(status.ready ? [] : [status.reason]),
    ...[strangers.whyClosedToMembers(), pending.whyClosedToMembers()].filter((reason) => reason !== undefined),
    ...binder.reasons(),
  ]
  return { ready: reasons.length === 0, reasons, warnings: binder.warnings() }
}

/** Binds the HTTP listeners; returns the port of the peer listener. Throws ListenError. */
async function openListeners(config: ServeConfig, listeners: Listeners, binder: AddressBinder): Promise<number> {
  // The router opens last, and a daemon that is ending closes its router last: clients of the mirror must not wait for it meanwhile.
  for (const address of config.routerAddr) await binder.waitForPort(address, () => probeRouter(address))
  const peerPort = await listeners.open('peer', config.peerAddr)
  await listeners.open('admin', config.adminAddr)
  await listeners.open('metrics', config.metricsAddr)
  await listeners.open('mirror', config.mirrorAddr)
  return peerPort
}

function routerBinding(binder: AddressBinder): { routers: readonly string[]; bindRouter: BindRouter } {
  const routers: string[] = []
  const bindRouter: BindRouter = (address, attempt) =>
    binder.bind('router', address, async () => void routers.push(formatHostPort(await attempt())))
  return { routers, bindRouter }
}

/** The socket's path. Without a flag a socket that cannot be opened is only a warning, since pulls do not need it; with one it is an error. */
async function openAdminSocket(config: ServeConfig, listeners: Listeners, log: Logger): Promise<string | undefined> {
  if (config.adminSocket === 'none') return undefined
  const path = resolve(config.adminSocket ?? defaultAdminSocket())
  try {
    await listeners.openSocket(path)
    return path
  } catch (error) {
    if (config.adminSocket !== undefined) throw error
    log.warn(
      { err: errorText(error) },
      'this daemon takes no commands (nabo status, peers, find, warm): it has no admin socket',
    )
    return undefined
  }
}
