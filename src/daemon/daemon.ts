import type { Logger } from 'pino'

import type { ServeConfig } from '../config/serve-config.ts'
import { type AdminListenerOptions, type Readiness, createAdminHandler } from '../http/admin-listener.ts'
import { DeliveryCounters } from '../delivery/blobs/delivery-counters.ts'
import { ImageFinder } from '../delivery/images/image-finder.ts'
import { UpstreamRates } from '../delivery/blobs/upstream-rates.ts'
import { Admission } from '../http/admission.ts'
import type { BlobSending } from '../http/answers.ts'
import { PEER_MINIMUM_RATE } from '../http/minimum-rate.ts'
import { createMirrorHandler } from '../http/mirror-listener.ts'
import { createPeerHandler } from '../http/peer-listener.ts'
import { Bandwidth } from '../mover/bandwidth.ts'
import { BufferPool } from '../mover/buffer-pool.ts'
import { chooseMover } from '../mover/choose-mover.ts'
import type { IsMirror } from '../oci/reference.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { type ClusterKeys, readClusterSecrets } from '../peers/cluster-secret.ts'
import { Provenance } from '../delivery/access/provenance.ts'
import { indexTransport } from '../peers/transports.ts'
import { readMirrorToken } from '../config/mirror-token.ts'
import { PeerClient } from '../peers/peer-client.ts'
import type { ReplicatedSwarm } from '../swarm/replicated-swarm.ts'
import type { QuotaExchange } from '../peers/quota-exchange.ts'
import { ReplicatedIndex } from '../providers/replicated-index.ts'
import { MirrorTraffic } from '../warm/mirror-traffic.ts'
import { Metrics } from './metrics.ts'
import { keepProofs } from './kept-proofs.ts'
import { logRequest } from './request-log.ts'
import { second } from '../time/units.ts'
import { type Viewed, aboutSelf, countBlobs, peersView, statusView } from './admin-views.ts'
import { announceContent } from './content-announcer.ts'
import { createChecks } from './create-checks.ts'
import { createOverlay } from './create-overlay.ts'
import { type Warm, createWarm } from './create-warm.ts'
import { type ChosenStore, createStore } from './create-store.ts'
import { type OwnedUpstream, createUpstream } from './create-upstream.ts'
import { type ListenerName, Listeners } from './listeners.ts'
import { createSwarm } from './create-swarm.ts'
import { mirrorHosts, mirrorNames } from './mirror-names.ts'
import { type NodeChecks, observeChecks } from './node-checks.ts'
import { observeSwarm } from './swarm-metrics.ts'
import { RegistryLabels } from './registry-labels.ts'
import { type Quota, askedQuotas, createQuota, shareQuota } from './quota.ts'
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
  /** How peers know this node. */
  readonly self: { readonly id: string; readonly address: string }
}

/** What the daemon is made of. */
interface Parts {
  readonly chosen: ChosenStore
  /** Sources of the content that passed through this process. */
  readonly provenance: Provenance
  readonly buffers: BufferPool
  readonly owned: OwnedUpstream
  readonly quota: Quota
  readonly quotaExchange: QuotaExchange
  readonly peers: PeerClient
  readonly listeners: Listeners
  readonly overlay: Overlay
  readonly index: ReplicatedIndex
  readonly swarm: ReplicatedSwarm
  readonly admission: Admission
  readonly rates: UpstreamRates
  readonly counters: DeliveryCounters
  readonly metrics: Metrics
  readonly registryLabels: RegistryLabels
  /** Whether a registry name addresses the mirror itself. */
  readonly isMirror: IsMirror
  readonly isMirrorHost: (host: string) => boolean
  /** Told of what the mirror has answered. */
  readonly traffic: MirrorTraffic
  readonly readiness: () => Readiness
}

const NO_SECRET =
  'no --cluster-secret-file: every machine that reaches the peer and router ports can join and read what this node shares'

/** How long the other nodes are told that this one leaves. */
const WITHDRAW_TIMEOUT = 2 * second

/** Builds a daemon from its parts and starts it. Throws an Error with one sentence for its operator; nothing is left behind then. */
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
  const { chosen, owned, overlay, index, swarm, admission, listeners } = parts
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
  const { toClients, toPeers } = await chooseSending(config, parts.buffers, log)
  const summary: DaemonSummary = { store: chosen.kind, self: overlay.self, ...listeners.bound }
  const viewed = { ...parts, config, summary, transfers: useCases.transfers, nodes: parts.peers }
  const finder = new ImageFinder({ ...viewed, ...useCases, self: overlay.self, store: chosen.store })
  const warm = await createWarm(config, { ...parts, useCases, log }, teardown)
  const checks = createChecks(config, { ...viewed, log })
  observeChecks(parts.metrics.registry, () => checks.last)
  teardown.add(() => checks.stop())
  const admin = adminOptions(viewed, finder, parts.quotaExchange, warm, checks)
  listeners.serve({
    mirror: createMirrorHandler({
      ...useCases,
      token,
      sending: toClients,
      asksForLogin: config.privateImages === 'verify',
      isMirror: parts.isMirror,
    }),
    peer: createPeerHandler({
      ...useCases,
      selfId: overlay.self.id,
      store: chosen.store,
      index,
      swarm,
      quota: parts.quotaExchange,
      about: (digests) => aboutSelf(viewed, digests),
      warm: warm.jobs,
      keys,
      admission,
      sending: toPeers,
    }),
    admin: createAdminHandler(admin, 'full'),
    metrics: createAdminHandler(admin, 'probes'),
  })

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

/** How blobs leave this node: by what works here, and to its peers no faster than it may. */
async function chooseSending(
  config: ServeConfig,
  buffers: BufferPool,
  log: Logger,
): Promise<Record<'toClients' | 'toPeers', BlobSending>> {
  const mover = await chooseMover({ log })
  const bandwidth = config.peerBandwidth === undefined ? undefined : new Bandwidth(config.peerBandwidth)
  // Peers get files alone: what only passes through goes to clients. containerd may pause, so clients have the socket's timeout only.
  return { toClients: { mover, buffers }, toPeers: { mover, bandwidth, minimumRate: PEER_MINIMUM_RATE } }
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
  const isMirrorHost = mirrorHosts({ bound: () => listeners.bound.mirror })
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
  const peers = new PeerClient({ key: secrets?.[0]?.peer, idleTimeout: config.upstreamTimeout, buffers })
  teardown.add(() => peers.close())
  const traffic = new MirrorTraffic()
  const listeners = new Listeners({
    log,
    finished: (name, exchange) => {
      metrics.request(name, exchange)
      if (name === 'mirror') traffic.note(exchange)
      if (name === 'mirror' || name === 'peer') logRequest(log, name, exchange)
    },
  })
  teardown.add(() => listeners.close())
  const peerPort = await listeners.open('peer', config.peerAddr)
  await listeners.open('mirror', config.mirrorAddr)
  await listeners.open('admin', config.adminAddr)
  await listeners.open('metrics', config.metricsAddr)
  const overlay = await createOverlay(config, { secrets, peerPort, log })
  const index = new ReplicatedIndex(overlay, indexTransport(peers), { replicas: config.indexReplicas })
  const quotaExchange = shareQuota(quota, { overlay, peers, replicas: config.indexReplicas }, teardown)
  const admission = new Admission(config.peerMaxTransfers)
  const rates = new UpstreamRates()
  const [load, upstreamRate] = [() => admission.load(), (registry: string) => rates.of(registry)]
  const swarm = createSwarm(config, { overlay, index, peers, load, upstreamRate })
  const counters = new DeliveryCounters()
  const known = { quota, quotaExchange, rates, counters, isMirror, isMirrorHost, buffers, provenance, registryLabels }
  return { ...known, chosen, owned, peers, listeners, overlay, index, swarm, admission, metrics, traffic, readiness }
}

function adminOptions(
  viewed: Viewed,
  finder: ImageFinder,
  quotaExchange: QuotaExchange,
  warm: Warm,
  checks: NodeChecks,
): AdminListenerOptions {
  const { metrics, readiness, overlay, quota } = viewed
  return {
    readiness,
    metrics: async () => ({ contentType: metrics.registry.contentType, text: await metrics.registry.metrics() }),
    status: () => statusView(viewed),
    quotas: () => askedQuotas(quota, quotaExchange),
    peers: () => overlay.peers(),
    members: (signal) => peersView(viewed, signal),
    isMirror: viewed.isMirror,
    find: (request, signal) => finder.find(request, signal),
    warm: warm.command,
    checks: () => checks.ask(),
    lastFindings: () => checks.last.findings,
  }
}
