import { resolve } from 'node:path'

import type { Logger } from 'pino'

import type { ServeConfig } from '../config/serve-config.ts'
import type { Readiness } from '../http/admin-handlers.ts'
import { DeliveryCounters } from '../delivery/blobs/delivery-counters.ts'
import { UpstreamRates } from '../delivery/blobs/upstream-rates.ts'
import { Admission } from '../http/admission.ts'
import { OpenRequests } from '../http/open-requests.ts'
import { HttpRequests } from '../http-client/http-requests.ts'
import { BufferPool } from '../mover/buffer-pool.ts'
import type { IsMirror } from '../oci/reference.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { type ClusterKeys, readClusterSecrets } from '../peers/cluster-secret.ts'
import { Provenance } from '../delivery/access/provenance.ts'
import { indexTransport } from '../peers/transports.ts'
import { readMirrorToken } from '../config/mirror-token.ts'
import { defaultAdminSocket } from '../config/admin-socket.ts'
import { PeerClient } from '../peers/peer-client.ts'
import type { ReplicatedSwarm } from '../swarm/replicated-swarm.ts'
import type { QuotaExchange } from '../peers/quota-exchange.ts'
import { ReplicatedIndex } from '../providers/replicated-index.ts'
import { MirrorTraffic } from '../warm/mirror-traffic.ts'
import { Metrics } from './metrics.ts'
import { keepProofs } from './kept-proofs.ts'
import { errorText } from '../telemetry/log.ts'
import { second } from '../time/units.ts'
import { countBlobs } from './admin-views.ts'
import { announceContent } from './content-announcer.ts'
import { createChecks } from './create-checks.ts'
import { createOverlay } from './create-overlay.ts'
import { createApps } from './create-apps.ts'
import { createWarm } from './create-warm.ts'
import { type ChosenStore, createStore } from './create-store.ts'
import { type OwnedUpstream, createUpstream } from './create-upstream.ts'
import { type ListenerName, Listeners } from './listeners.ts'
import { createSwarm } from './create-swarm.ts'
import { listenerHosts, mirrorNames } from './mirror-names.ts'
import { observeChecks } from './node-checks.ts'
import { observeSwarm } from './swarm-metrics.ts'
import { RegistryLabels } from './registry-labels.ts'
import { type Quota, createQuota, shareQuota } from './quota.ts'
import { Teardown } from './teardown.ts'
import { observeUpstreams } from './upstream-metrics.ts'
import { type UseCases, createUseCases, registryPolicy } from './use-cases.ts'

/** A daemon that serves. */
export interface Daemon {
  readonly summary: DaemonSummary
  /** Drains transfers, withdraws from the cluster, closes everything. */
  stop(): Promise<void>
}

export interface DaemonSummary extends Readonly<Record<ListenerName, readonly string[]>> {
  readonly store: 'containerd' | 'directory'
  /** This node in the overlay, and the address of its peer listener for peers. */
  readonly self: { readonly id: string; readonly address: string }
  /** Path of the Unix socket for commands; undefined without one. */
  readonly adminSocket?: string
}

/** The parts of the daemon below its use cases. */
export interface Parts {
  readonly chosen: ChosenStore
  /** Sources of the content that passed through this process. */
  readonly provenance: Provenance
  readonly buffers: BufferPool
  readonly owned: OwnedUpstream
  readonly quota: Quota
  readonly quotaExchange: QuotaExchange
  readonly peers: PeerClient
  readonly listeners: Listeners
  readonly open: OpenRequests
  /** Path of the Unix socket for commands; undefined without one. */
  readonly adminSocket: string | undefined
  readonly overlay: Overlay
  readonly index: ReplicatedIndex
  readonly swarm: ReplicatedSwarm
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
  readonly readiness: () => Readiness
}

const NO_SECRET =
  'no --cluster-secret-file: every machine that reaches the peer and router ports can join and read what this node shares'

/** Time for telling the other nodes that this one leaves. */
const WITHDRAW_TIMEOUT = 2 * second

/** Builds a daemon from its parts and starts it. Throws an Error with one sentence for the operator, after everything that was started has been stopped. */
export async function startDaemon(config: ServeConfig, log: Logger): Promise<Daemon> {
  const teardown = new Teardown()
  try {
    return await start(config, log, teardown)
  } catch (error) {
    await teardown.run()
    throw error
  }
}

async function start(config: ServeConfig, log: Logger, teardown: Teardown): Promise<Daemon> {
  const secrets =
    config.clusterSecretFile === undefined ? undefined : await readClusterSecrets(config.clusterSecretFile)
  if (secrets === undefined) log.warn({}, NO_SECRET)
  const token = config.mirrorTokenFile === undefined ? undefined : await readMirrorToken(config.mirrorTokenFile)
  let stopping = false
  const parts = await build(config, log, secrets, teardown, () => stopping)
  const { chosen, owned, overlay, index, swarm, listeners } = parts
  const useCases = createUseCases(config, { ...parts, self: overlay.self, upstream: owned.upstream, log })

  observe(parts, useCases)
  teardown.add(() => useCases.suspects.stop())
  teardown.add(await keepProofs(config.dataDir, useCases.publicProofs, log))
  await chosen.store.start()
  teardown.add(() => chosen.store.stop())
  teardown.add(() => useCases.selfCheck.stop())
  await overlay.start()
  teardown.add(() => overlay.stop())
  await index.start()
  await swarm.start()
  teardown.add(announceContent(chosen.store, index))
  const keys = secrets?.map((secret) => secret.peer)
  const { adminSocket } = parts
  const summary: DaemonSummary = {
    store: chosen.kind,
    self: overlay.self,
    ...listeners.bound,
    ...(adminSocket === undefined ? {} : { adminSocket }),
  }
  const warm = await createWarm(config, { ...parts, useCases, log }, teardown)
  const checks = createChecks(config, { ...parts, summary, log })
  observeChecks(parts.metrics.registry, () => checks.last)
  teardown.add(() => checks.stop())
  listeners.serve(await createApps(config, { ...parts, useCases, warm, checks, summary, keys, token, log }))

  checks.start()

  const stop = async () => {
    stopping = true
    warm.stop()
    const drained = listeners.drain()
    const withdrawing = { signal: AbortSignal.timeout(WITHDRAW_TIMEOUT) }
    await Promise.all([swarm.stop(withdrawing), index.stop(withdrawing)])
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, config.shutdownGrace).unref())])
    useCases.fills?.stop()
    await teardown.run()
  }
  return { summary, stop }
}

/** Registers the metrics of the use cases. */
function observe(parts: Parts, useCases: UseCases): void {
  observeSwarm(parts.metrics.registry, {
    swarm: () => parts.swarm.stats(),
    counters: parts.counters,
    followers: () => useCases.growing.followers,
    suspicion: () => ({
      ...useCases.suspects.stats(),
      quarantines: parts.chosen.quarantine.total,
      quarantined: parts.chosen.quarantine.size,
    }),
  })
  observeUpstreams(parts.metrics.registry, {
    quota: parts.quota,
    staleTags: useCases.staleTags,
    addresses: () => parts.owned.addresses(),
    registryLabels: parts.registryLabels,
  })
}

/** The overlay announces the port that the peer listener got, so the listeners bind first. */
async function build(
  config: ServeConfig,
  log: Logger,
  secrets: readonly ClusterKeys[] | undefined,
  teardown: Teardown,
  isStopping: () => boolean,
): Promise<Parts> {
  const isMirror = mirrorNames({ bound: () => listeners.bound.mirror })
  const provenance = new Provenance()
  const isMirrorHost = listenerHosts({ bound: () => listeners.bound.mirror })
  const chosen = await createStore(config, {
    isMirror,
    isMirrorHost,
    sourcesOf: (digest) => provenance.of(digest),
    log,
  })
  const readiness = (): Readiness => {
    const status = chosen.store.status()
    const reasons = [...(isStopping() ? ['the daemon is stopping'] : []), ...(status.ready ? [] : [status.reason])]
    return { ready: reasons.length === 0, reasons }
  }
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
  const quota = createQuota(log, teardown)
  const owned = await createUpstream(config, {
    observe: (event) => metrics.upstreamRequest(event),
    quota: quota.gate,
    log,
  })
  teardown.add(() => owned.close())
  const buffers = new BufferPool()
  const requests = new HttpRequests({ idleTimeout: config.upstreamTimeout })
  teardown.add(() => requests.close())
  const peers = new PeerClient({ key: secrets?.[0]?.peer, idleTimeout: config.upstreamTimeout, requests, buffers })
  teardown.add(() => peers.close())
  const traffic = new MirrorTraffic()
  const open = new OpenRequests()
  const listeners = new Listeners(open)
  teardown.add(() => listeners.close())
  const peerPort = await listeners.open('peer', config.peerAddr)
  await listeners.open('mirror', config.mirrorAddr)
  await listeners.open('admin', config.adminAddr)
  await listeners.open('metrics', config.metricsAddr)
  const adminSocket = await openAdminSocket(config, listeners, log)
  const overlay = await createOverlay(config, { secrets, peerPort, requests, log })
  const index = new ReplicatedIndex(overlay, indexTransport(peers), { replicas: config.indexReplicas })
  const quotaExchange = shareQuota(quota, { overlay, peers, replicas: config.indexReplicas }, teardown)
  const admission = new Admission(config.peerMaxTransfers)
  const rates = new UpstreamRates()
  const [load, upstreamRate] = [() => admission.load(), (registry: string) => rates.of(registry)]
  const swarm = createSwarm(config, { overlay, index, peers, load, upstreamRate })
  const counters = new DeliveryCounters()
  const known = {
    quota,
    quotaExchange,
    rates,
    counters,
    isMirror,
    isMirrorHost,
    buffers,
    provenance,
    registryLabels,
    open,
    adminSocket,
  }
  return { ...known, chosen, owned, peers, listeners, overlay, index, swarm, admission, metrics, traffic, readiness }
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
