import type { GivenFlags } from '../config/given-flags.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import { PROBES } from '../contracts/admin-api.ts'
import { isNamedRegistry } from '../delivery/access/registry-policy.ts'
import { ImageFinder } from '../delivery/images/image-finder.ts'
import { adminHandlers } from '../http/admin-handlers.ts'
import { adminRoutes } from '../http/admin-routes.ts'
import type { BlobSending } from '../http/answers.ts'
import { type Routes, createApp } from '../http/app.ts'
import type { FinishedExchange } from '../http/exchange.ts'
import { guardLocal } from '../http/local-guard.ts'
import { PEER_MINIMUM_RATE } from '../http/minimum-rate.ts'
import { mirrorRoutes } from '../http/mirror-listener.ts'
import { peerRoutes } from '../http/peer-listener.ts'
import { Bandwidth } from '../mover/bandwidth.ts'
import type { BufferPool } from '../mover/buffer-pool.ts'
import { chooseMover } from '../mover/choose-mover.ts'
import { canonicalHost } from '../overlay/host-port.ts'
import type { Log } from '../telemetry/log.ts'
import { type Viewed, aboutSelf, peersView, statusView } from './admin-views.ts'
import type { Warm } from './create-warm.ts'
import type { Parts } from './build-parts.ts'
import type { DaemonSummary } from './daemon-summary.ts'
import type { Apps, ListenerName } from './listeners.ts'
import { listenerHosts } from './mirror-names.ts'
import type { NodeChecks } from './node-checks.ts'
import { askedQuotas } from './quota.ts'
import { logRequest } from './request-log.ts'
import type { UseCases } from './use-cases.ts'

interface AppParts extends Parts {
  readonly useCases: UseCases
  readonly warm: Warm
  readonly checks: NodeChecks
  readonly summary: DaemonSummary
  readonly given: GivenFlags
  /** Whether the cluster has a secret. */
  readonly hasSecret: boolean
  /** The token in --mirror-token-file; undefined without the flag. */
  readonly token: string | undefined
  readonly log: Log
}

const PROBE_PATHS = Object.values(PROBES).map(({ path }) => path)

/** The applications behind the daemon's listeners. */
export async function createApps(config: ServeConfig, parts: AppParts): Promise<Apps> {
  const { useCases, overlay, chosen, warm, hasSecret, token, log } = parts
  const viewed: Viewed = {
    ...parts,
    config,
    transfers: useCases.transfers,
    nodes: parts.peers,
    lastProblems: () => parts.checks.lastProblems,
    isKnownPublic: (repository) => useCases.publicProofs.known(repository),
  }
  const { toClients, toPeers } = await chooseSending(config, parts.buffers, log)
  const handlers = createAdminHandlers(viewed, parts)
  const app = (name: ListenerName, routes: Routes) =>
    createApp(routes, { open: parts.open, log, finished: (exchange) => note(parts, name, exchange) })
  const isMirrorAddress = (host: string) => config.mirrorAddr.some((address) => canonicalHost(address.host) === host)
  const guard = (name: 'mirror' | 'admin', exempt: readonly string[] = []) => {
    const names = listenerHosts({ bound: () => parts.listeners.bound[name] })
    const isOwnHost = (host: string) => names(host) || config.allowedHost.includes(host) || isMirrorAddress(host)
    return guardLocal({ isOwnHost, exempt })
  }
  const mirror = mirrorRoutes({
    ...useCases,
    guard: guard('mirror'),
    token,
    sending: toClients,
    upstreamTimeout: config.upstreamTimeout,
    asksForLogin: config.privateImages === 'verify',
    isMirror: parts.isMirror,
  })
  const peer = peerRoutes({
    ...useCases,
    selfId: overlay.self.id,
    store: chosen.store,
    index: parts.index,
    swarm: parts.swarm,
    quota: parts.quotaExchange,
    about: (digests, asker) => aboutSelf(viewed, digests, asker),
    warm: warm.jobs,
    hasSecret,
    verifier: parts.authentication.verifier,
    joins: parts.authentication.joins,
    admission: parts.admission,
    sending: toPeers,
    strangers: parts.strangers,
  })
  const [mirrorApp, peerApp, admin, metrics, operator] = await Promise.all([
    app('mirror', mirror),
    app('peer', peer),
    app('admin', adminRoutes(handlers, 'public', guard('admin', PROBE_PATHS))),
    app('metrics', adminRoutes(handlers, 'probes')),
    app('admin', adminRoutes(handlers, 'operator')),
  ])
  return { mirror: mirrorApp, peer: peerApp, admin, metrics, operator }
}

/** Chooses the fastest mover that works here, and limits for peers. */
async function chooseSending(
  config: ServeConfig,
  buffers: BufferPool,
  log: Log,
): Promise<Record<'toClients' | 'toPeers', BlobSending>> {
  const mover = await chooseMover({ log })
  const bandwidth = config.peerBandwidth === undefined ? undefined : new Bandwidth(config.peerBandwidth)
  // Peers get files only: content that passes through goes to clients. containerd may pause, so clients have the socket's timeout only.
  return { toClients: { mover, buffers }, toPeers: { mover, bandwidth, minimumRate: PEER_MINIMUM_RATE } }
}

function createAdminHandlers(viewed: Viewed, parts: AppParts) {
  const { useCases, overlay, chosen, checks, quotaExchange } = parts
  const { metrics, readiness, quota, isMirror } = viewed
  const finder = new ImageFinder({
    ...viewed,
    ...useCases,
    peers: parts.peers,
    self: overlay.self,
    store: chosen.store,
  })
  return adminHandlers({
    readiness,
    metrics: async () => ({ contentType: metrics.registry.contentType, text: await metrics.registry.metrics() }),
    status: (options) => statusView(viewed, options),
    settings: { workingDirectory: process.cwd(), flags: parts.given },
    quotas: () => askedQuotas(quota, quotaExchange),
    peers: () => overlay.peers(),
    members: (options) => peersView(viewed, options),
    refusedNodes: () => viewed.refusedNodes.recent(),
    isMirror,
    find: (request, signal) => finder.find(request, signal),
    isNamedRegistry: (registry) => isNamedRegistry(useCases.policy, registry),
    isPublic: (...asked) => useCases.isPublic(...asked),
    warm: parts.warm.command,
    checks: () => checks.ask(),
    lastProblems: viewed.lastProblems,
  })
}

/** Counts and logs a request that has ended. */
function note({ metrics, traffic, log }: AppParts, name: ListenerName, exchange: FinishedExchange): void {
  metrics.request(name, exchange)
  if (name === 'mirror') traffic.note(exchange)
  if (name === 'mirror' || name === 'peer') logRequest(log, name, exchange)
}
