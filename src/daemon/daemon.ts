import type { Logger } from 'pino'

import { readMirrorToken } from '../config/mirror-token.ts'
import type { GivenFlags } from '../config/given-flags.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import { readClusterSecrets } from '../authentication/cluster-secret.ts'
import { second } from '../time/units.ts'
import { type Parts, buildParts } from './build-parts.ts'
import { announceContent } from './content-announcer.ts'
import { createApps } from './create-apps.ts'
import { createChecks } from './create-checks.ts'
import { createWarm } from './create-warm.ts'
import type { DaemonSummary } from './daemon-summary.ts'
import { refuseExposure, warnOfExposure } from './exposure.ts'
import { keepProofs } from './kept-proofs.ts'
import { observeChecks } from './node-checks.ts'
import { observeSwarm } from './swarm-metrics.ts'
import { Teardown } from './teardown.ts'
import { observeUpstreams } from './upstream-metrics.ts'
import { type UseCases, createUseCases } from './use-cases.ts'

/** A daemon that serves. */
export interface Daemon {
  readonly summary: DaemonSummary
  /** Drains transfers, withdraws from the cluster, closes everything. */
  stop(): Promise<void>
}

/** Time for telling the other nodes that this one leaves. */
const WITHDRAW_TIMEOUT = 2 * second

export interface StartOptions {
  /** Ends the waiting for ports. */
  readonly signal?: AbortSignal
  /** The flags as they were written, for `nabo doctor`. */
  readonly given?: GivenFlags
}

/**
 * Builds a daemon from its parts and starts it. Throws an Error with one sentence for the operator, after
 * everything that was started has been stopped.
 */
export async function startDaemon(config: ServeConfig, log: Logger, options: StartOptions = {}): Promise<Daemon> {
  const teardown = new Teardown()
  try {
    return await start(config, log, teardown, options)
  } catch (error) {
    await teardown.run()
    throw error
  }
}

async function start(
  config: ServeConfig,
  log: Logger,
  teardown: Teardown,
  { signal, given = {} }: StartOptions,
): Promise<Daemon> {
  refuseExposure(config)
  const secrets =
    config.clusterSecretFile === undefined ? undefined : await readClusterSecrets(config.clusterSecretFile)
  warnOfExposure(config, log)
  const token = config.mirrorTokenFile === undefined ? undefined : await readMirrorToken(config.mirrorTokenFile)
  let stopping = false
  const parts = await buildParts(config, { log, secrets, teardown, signal, isStopping: () => stopping })
  const { chosen, owned, overlay, index, swarm, listeners } = parts
  const useCases = createUseCases(config, { ...parts, self: overlay.self, upstream: owned.upstream, log })

  observe(parts, useCases)
  teardown.add(() => useCases.suspects.stop())
  teardown.add(() => useCases.vetted.stop())
  teardown.add(await keepProofs(config.dataDir, useCases.publicProofs, log))
  await chosen.store.start()
  teardown.add(() => chosen.store.stop())
  teardown.add(() => useCases.selfCheck.stop())
  await overlay.start()
  teardown.add(() => overlay.stop())
  await index.start()
  await swarm.start()
  teardown.add(announceContent(chosen.store, index))
  const hasSecret = secrets !== undefined
  const { adminSocket } = parts
  const summary: DaemonSummary = {
    store: chosen.kind,
    self: overlay.self,
    ...listeners.bound,
    router: parts.routers,
    ...(adminSocket === undefined ? {} : { adminSocket }),
  }
  const warm = await createWarm(config, { ...parts, useCases, log }, teardown)
  const checks = createChecks(config, { ...parts, summary, log })
  observeChecks(parts.metrics.registry, () => checks.last)
  teardown.add(() => checks.stop())
  listeners.serve(await createApps(config, { ...parts, useCases, warm, checks, summary, given, hasSecret, token, log }))

  checks.start()

  const stop = async () => {
    stopping = true
    warm.stop()
    await parts.binder.stop()
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
    credentialTroubles: () => parts.owned.credentialTroubles(),
    registryLabels: parts.registryLabels,
  })
}
