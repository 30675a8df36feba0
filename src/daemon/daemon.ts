import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'

import type { Logger } from 'pino'

import type { ServeConfig } from '../config/serve-config.ts'
import { type Readiness, createAdminHandler } from '../http/admin-listener.ts'
import { drain, listen } from '../http/bind.ts'
import { type Exchange, createListener } from '../http/exchange.ts'
import { createMirrorHandler } from '../http/mirror-listener.ts'
import { createPeerHandler } from '../http/peer-listener.ts'
import { type HostPort, formatHostPort } from '../overlay/host-port.ts'
import type { Overlay } from '../overlay/overlay.ts'
import { readClusterSecrets } from '../peers/cluster-secret.ts'
import { IndexHttpTransport } from '../peers/index-http-transport.ts'
import { PeerClient } from '../peers/peer-client.ts'
import { ReplicatedIndex } from '../providers/replicated-index.ts'
import type { ContentStore } from '../store/content-store.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { logRequest } from '../telemetry/request-log.ts'
import { second } from '../time/units.ts'
import { announceContent } from './content-announcer.ts'
import { createOverlay } from './create-overlay.ts'
import { createStore } from './create-store.ts'
import { createUpstream } from './create-upstream.ts'
import { createUseCases } from './use-cases.ts'

/** A daemon that serves. */
export interface Daemon {
  readonly summary: DaemonSummary
  /** Drains transfers, withdraws from the cluster, closes everything. */
  stop(): Promise<void>
}

export interface DaemonSummary {
  readonly store: 'containerd' | 'directory'
  readonly self: { readonly id: string; readonly address: string }
  readonly mirror: readonly string[]
  readonly peer: readonly string[]
  readonly admin: readonly string[]
  readonly metrics: readonly string[]
}

type ListenerName = 'mirror' | 'peer' | 'admin' | 'metrics'

/** How long the other nodes are told that this one leaves. */
const WITHDRAW_TIMEOUT = 2 * second

/** Builds a daemon from its parts and starts it. Throws an Error with one sentence for its operator; nothing is left behind then. */
export async function startDaemon(config: ServeConfig, log: Logger): Promise<Daemon> {
  const undo: (() => Promise<unknown> | void)[] = []
  try {
    return await start(config, log, undo)
  } catch (error) {
    for (const step of undo.reverse()) await step()
    throw error
  }
}

async function start(config: ServeConfig, log: Logger, undo: (() => Promise<unknown> | void)[]): Promise<Daemon> {
  const servers: Server[] = []
  const bound: Record<ListenerName, string[]> = { mirror: [], peer: [], admin: [], metrics: [] }
  let stopping = false

  const secrets = config.clusterSecretFile === undefined ? undefined : await readClusterSecrets(config.clusterSecretFile)
  if (secrets === undefined && config.bootstrap.type !== 'none') {
    log.warn({}, 'no --cluster-secret-file: every machine that reaches the peer and router ports can read what this node shares')
  }
  const token = config.mirrorTokenFile === undefined ? undefined : await readToken(config.mirrorTokenFile)
  const chosen = createStore(config, log)
  const metrics = new Metrics({
    isReady: () => readiness().ready,
    peers: () => overlay.peers().length,
    storedBlobs: () => chosen.store.entries().filter((entry) => entry.type === 'blob').length,
    index: () => index.stats(),
  })
  const owned = await createUpstream(config, (event) => metrics.upstreamRequest(event))
  undo.push(() => owned.close())
  const peers = new PeerClient({ key: secrets?.[0]?.peer, idleTimeout: config.upstreamTimeout })
  undo.push(() => peers.close())

  // The overlay announces the port that the peer listener got, so that one binds first; it answers once the parts are there.
  const parts = Promise.withResolvers<Record<ListenerName, (exchange: Exchange) => Promise<void>>>()
  const open = async (name: ListenerName, addresses: readonly HostPort[]): Promise<number> => {
    let port = 0
    for (const address of addresses) {
      const server = createListener({
        handle: async (exchange) => (await parts.promise)[name](exchange),
        finished: (exchange) => {
          metrics.request(name, exchange)
          if (name === 'mirror' || name === 'peer') logRequest(log, name, exchange)
        },
        log,
      })
      const taken = await listen(server, address, `--${name}-addr`)
      undo.push(() => void server.close().closeAllConnections())
      servers.push(server)
      bound[name].push(formatHostPort(taken))
      port = taken.port
    }
    return port
  }
  const peerPort = await open('peer', config.peerAddr)
  const overlay: Overlay = await createOverlay(config, { secrets, peerPort, log })
  const index = new ReplicatedIndex(overlay, new IndexHttpTransport(peers), { replicas: config.indexReplicas })
  const useCases = createUseCases(config, { chosen, index, peers, upstream: owned.upstream, log })
  await open('mirror', config.mirrorAddr)
  await open('admin', config.adminAddr)
  await open('metrics', config.metricsAddr)

  const readiness = (): Readiness => {
    const status = chosen.store.status()
    const reasons = [...(stopping ? ['the daemon is stopping'] : []), ...(status.ready ? [] : [status.reason])]
    return { ready: reasons.length === 0, reasons }
  }
  const summary: DaemonSummary = { store: chosen.kind, self: overlay.self, ...bound }
  const admin = {
    readiness,
    metrics: async () => ({ contentType: metrics.registry.contentType, text: await metrics.registry.metrics() }),
    status: () => ({ ...summary, ...readiness(), peers: overlay.peers().length, blobs: countBlobs(chosen.store), index: index.stats() }),
    peers: () => overlay.peers(),
  }
  await chosen.store.start()
  undo.push(() => chosen.store.stop())
  await overlay.start()
  undo.push(() => overlay.stop())
  await index.start()
  undo.push(announceContent(chosen.store, index))
  parts.resolve({
    mirror: createMirrorHandler({ ...useCases, upstream: owned.upstream, token }),
    peer: createPeerHandler({ ...useCases, store: chosen.store, index, keys: secrets?.map((secret) => secret.peer), maxTransfers: config.peerMaxTransfers }),
    admin: createAdminHandler(admin, 'full'),
    metrics: createAdminHandler(admin, 'probes'),
  })

  const stop = async () => {
    stopping = true
    const drained = Promise.all(servers.map(drain))
    await index.stop({ signal: AbortSignal.timeout(WITHDRAW_TIMEOUT) })
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, config.shutdownGrace).unref())])
    useCases.fills?.stop()
    for (const step of undo.reverse()) await step()
  }
  return { summary, stop }
}

function countBlobs(store: ContentStore): number {
  return store.entries().filter((entry) => entry.type === 'blob').length
}

async function readToken(path: string): Promise<string> {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw new Error(`the mirror token file ${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause })
  }
  if (text.length < 8) throw new Error(`the mirror token in ${path} must have at least 8 characters`)
  return text
}
