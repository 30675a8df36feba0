import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

import type { ServeConfig, ServeFlags } from '../config/serve-config.ts'
import type { QuotaAnswer } from '../contracts/admin/quota.ts'
import { ADMIN_API } from '../contracts/admin-api.ts'
import { onAdvertisedHosts, resolveAddresses } from '../daemon/advertised-hosts.ts'
import { createUpstream, type OwnedUpstream } from '../daemon/create-upstream.ts'
import { nodeSources } from '../daemon/node-sources.ts'
import { SystemTrust } from '../http-client/system-trust.ts'
import { NoAddressError } from '../daemon/own-addresses.ts'
import { includesRegistry } from '../delivery/access/registry-policy.ts'
import { type DaemonLook, type NodeSources, SettingsError, type UpstreamLook } from '../doctor/node.ts'
import { DOCKER_HUB } from '../oci/reference.ts'
import { formatHostPort, isUnspecifiedAddress } from '../overlay/host-port.ts'
import { clockAheadOf } from '../time/clock-ahead.ts'
import { createLog, errorText } from '../telemetry/log.ts'
import { QuotaBook } from '../upstream/quota/quota-book.ts'
import { QuotaGate } from '../upstream/quota/quota-gate.ts'
import type { QuotaView } from '../upstream/quota/quota-view.ts'
import { unexplainedText } from '../upstream/unexplained-text.ts'
import { AdminClient, AdminError } from './admin-client.ts'

/** A repository that Docker keeps so that everybody can look at the quota: https://docs.docker.com/docker-hub/usage */
const QUOTA_REPOSITORY = { registry: DOCKER_HUB, name: 'ratelimitpreview/test' }
const MAX_REGISTRIES = 8
/** The part of a check's time that a registry has for its answer. The client's timers are late by up to a second. */
const REGISTRY_SHARE = 0.6

/** The sources of `nabo doctor`: `admin` asks the daemon of this node, by the flags if absent. The files of this node, its daemon if one runs, and the registries. */
export function doctorSources(
  config: ServeConfig,
  { timeout, admin = adminOf(config) }: { timeout: number; admin?: AdminClient },
): NodeSources {
  const book = new QuotaBook()
  const log = createLog('silent')
  const trust = new SystemTrust(process.env, log)
  let owned: Promise<OwnedUpstream> | undefined
  const upstream = () => {
    owned ??= createUpstream(
      // Shorter than the check's own deadline, so that the check ends with a finding about a silent registry.
      { ...config, upstreamTimeout: Math.min(config.upstreamTimeout, timeout * REGISTRY_SHARE) },
      { observe: () => {}, quota: new QuotaGate(book), trust, log },
    ).catch((cause: unknown) => {
      throw new SettingsError(errorText(cause), { cause })
    })
    return owned
  }
  return {
    ...nodeSources(config),
    // Most checks ask the daemon first: half of the time is left for them when the daemon hangs.
    daemon: (signal) => lookAtDaemon(admin, { signal, timeout: timeout / 2 }),
    upstreams: async (signal) => {
      const registries = await upstream()
      const all = registriesOf(config).map(async (registry): Promise<UpstreamLook[]> => {
        const began = Date.now()
        const reached = await registries.reach(registry, { signal })
        return reached.map(({ date, ...look }) => {
          const clockAhead = clockAheadOf(date, began, Date.now())
          return { registry, ...look, ...(clockAhead === undefined ? {} : { clockAhead }) }
        })
      })
      return (await Promise.all(all)).flat()
    },
    certificates: async () => {
      await trust.load()
      return (await upstream()).certificates()
    },
    neighbours: async (signal) => (await admin.call(ADMIN_API.peers, {}, { signal, timeout })).peers,
    quotas: async (daemon, signal) => {
      const known = daemon.state === 'running' ? await admin.call(ADMIN_API.quotas, {}, { signal, timeout }) : undefined
      if (known !== undefined && known.quotas.length > 0) return known.quotas.map(viewOf)
      if (!includesRegistry(config.registries, DOCKER_HUB)) return []
      const { upstream: registry } = await upstream()
      // Only the headers matter: they carry the quota.
      let failure: unknown
      await registry.headManifest(QUOTA_REPOSITORY, 'latest', { signal }).catch((error: unknown) => (failure = error))
      const views = book.views()
      // A registry that refuses or fails sends no quota, whether it has one or not.
      if (views.length === 0 && failure !== undefined)
        throw new Error(`${DOCKER_HUB} does not say whether it counts pulls: ${unexplainedText(failure)}`)
      return views
    },
    resolve: async (name) => {
      if (isIP(name) !== 0) return []
      return (await lookup(name, { all: true })).map((found) => found.address)
    },
  }
}

/** The settings of a daemon with these flags, and in `addressProblem` why it would not start for want of an address. */
export async function doctorConfig(flags: ServeFlags): Promise<{ config: ServeConfig; addressProblem?: string }> {
  try {
    return { config: await resolveAddresses(flags) }
  } catch (error) {
    if (!(error instanceof NoAddressError)) throw error
    return { config: onAdvertisedHosts(flags, []), addressProblem: error.message }
  }
}

/** The admin listener that these settings name. */
export function adminOf({ adminAddr: [address = { host: '127.0.0.1', port: 7953 }] }: ServeConfig): AdminClient {
  const host = isUnspecifiedAddress(address.host) ? '127.0.0.1' : address.host
  return new AdminClient({ url: new URL(`http://${formatHostPort({ ...address, host })}`) })
}

/** The registries of a list in `--fallback`, else Docker Hub, and those of `--upstream` and of a list in `--registries`, as far as they are mirrored. */
function registriesOf({ registries, fallback, upstream }: ServeConfig): string[] {
  const named = typeof fallback === 'string' ? [DOCKER_HUB] : [...fallback]
  const all = new Set([...named, ...upstream.keys(), ...(typeof registries === 'string' ? [] : registries)])
  return [...all].filter((registry) => includesRegistry(registries, registry)).slice(0, MAX_REGISTRIES)
}

async function lookAtDaemon(
  admin: AdminClient,
  options: { signal: AbortSignal; timeout: number },
): Promise<DaemonLook> {
  try {
    await admin.call(ADMIN_API.livez, {}, options)
    const status = await admin.call(ADMIN_API.status, {}, options)
    const { ready, reasons, store, adminSocket, self, refusedNodes, credentialTroubles, content } = status
    const { mirror, peer, router, admin: own, metrics } = status
    const listeners = { mirror, peer, router, admin: own, metrics }
    return {
      state: 'running',
      ready,
      reasons,
      store,
      listeners,
      storedBytes: content.bytes,
      ...(adminSocket && { adminSocket }),
      self,
      refusedNodes,
      credentialTroubles,
      peerCount: status.peers,
    }
  } catch (error) {
    options.signal.throwIfAborted()
    if (!(error instanceof AdminError)) throw error
    const isThere = error.status !== undefined || !/is the daemon running/.test(error.message)
    return isThere ? { state: 'strange', says: error.message } : { state: 'absent' }
  }
}

function viewOf({ asOf, endsAt, ...view }: QuotaAnswer): QuotaView {
  return { ...view, asOf: Date.parse(asOf), ...(endsAt === undefined ? {} : { endsAt: Date.parse(endsAt) }) }
}
