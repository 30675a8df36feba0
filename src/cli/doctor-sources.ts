import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

import { z } from 'zod'

import type { ServeConfig } from '../config/serve-config.ts'
import { createUpstream, type OwnedUpstream } from '../daemon/create-upstream.ts'
import { nodeSources } from '../daemon/node-sources.ts'
import { includesRegistry } from '../delivery/access/registry-policy.ts'
import { clockAheadOf } from '../doctor/ask-http.ts'
import { type DaemonLook, type NodeSources, SettingsError, type UpstreamLook } from '../doctor/node.ts'
import { DOCKER_HUB } from '../oci/reference.ts'
import { formatHostPort } from '../overlay/host-port.ts'
import { createLog, errorText } from '../telemetry/log.ts'
import { QuotaBook } from '../upstream/quota/quota-book.ts'
import { QuotaGate } from '../upstream/quota/quota-gate.ts'
import type { QuotaView } from '../upstream/quota/quota-view.ts'
import { AdminClient, AdminError } from './admin-client.ts'

/** A repository that Docker keeps so that everybody can look at the quota: https://docs.docker.com/docker-hub/usage */
const QUOTA_REPOSITORY = { registry: DOCKER_HUB, name: 'ratelimitpreview/test' }
const MAX_REGISTRIES = 8

/** Where `nabo doctor` looks: at what is on this node, at its daemon if one runs, and at the registries themselves. */
export function doctorSources(config: ServeConfig, { timeout }: { timeout: number }): NodeSources {
  const book = new QuotaBook()
  let owned: Promise<OwnedUpstream> | undefined
  const upstream = () => {
    owned ??= createUpstream(
      { ...config, upstreamTimeout: Math.min(config.upstreamTimeout, timeout) },
      { observe: () => {}, quota: new QuotaGate(book), log: createLog('silent') },
    ).catch((cause: unknown) => {
      throw new SettingsError(errorText(cause), { cause })
    })
    return owned
  }
  const address = config.adminAddr[0] ?? { host: '127.0.0.1', port: 7953 }
  const host = address.host === '0.0.0.0' || address.host === '::' ? '127.0.0.1' : address.host
  const admin = new AdminClient(new URL(`http://${formatHostPort({ ...address, host })}`))
  return {
    ...nodeSources(config),
    // Most checks begin with it: what hangs there must not take all of their time.
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
    quotas: async (daemon, signal) => {
      const known =
        daemon.state === 'running' ? await admin.get('/api/v1/quota', quotasSchema, { signal, timeout }) : undefined
      if (known !== undefined && known.quotas.length > 0) return known.quotas
      if (!includesRegistry(config.registries, DOCKER_HUB)) return []
      const { upstream: registry } = await upstream()
      // What it answers does not matter: it says what is left.
      await registry.headManifest(QUOTA_REPOSITORY, 'latest', { signal }).catch(() => undefined)
      return book.views()
    },
    resolve: async (name) => {
      if (isIP(name) !== 0) return []
      return (await lookup(name, { all: true })).map((found) => found.address)
    },
  }
}

/** Those that this node falls back on, by name, and Docker Hub. */
function registriesOf({ registries, fallback, upstream }: ServeConfig): string[] {
  const named = typeof fallback === 'string' ? [DOCKER_HUB] : [...fallback]
  const all = new Set([...named, ...upstream.keys()])
  return [...all].filter((registry) => includesRegistry(registries, registry)).slice(0, MAX_REGISTRIES)
}

const statusSchema = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()),
  store: z.enum(['containerd', 'directory']),
  mirror: z.array(z.string()),
  peer: z.array(z.string()),
  admin: z.array(z.string()),
})
const peersSchema = z.object({ peers: z.array(z.object({ id: z.string(), address: z.string() })) })
const time = z.iso.datetime().transform((text) => Date.parse(text))
const quotasSchema = z.object({
  quotas: z.array(
    z
      .object({
        registry: z.string(),
        host: z.string(),
        source: z.string(),
        limit: z.number(),
        remaining: z.number(),
        windowSeconds: z.number(),
        asOf: time,
        endsAt: time.optional(),
      })
      .transform(({ endsAt, ...view }): QuotaView => ({ ...view, ...(endsAt === undefined ? {} : { endsAt }) })),
  ),
})

async function lookAtDaemon(
  admin: AdminClient,
  options: { signal: AbortSignal; timeout: number },
): Promise<DaemonLook> {
  try {
    await admin.get('/livez', z.object({ alive: z.literal(true) }), options)
    const [status, { peers }] = await Promise.all([
      admin.get('/api/v1/status', statusSchema, options),
      admin.get('/api/v1/peers', peersSchema, options),
    ])
    return { state: 'running', ...status, peers }
  } catch (error) {
    options.signal.throwIfAborted()
    if (!(error instanceof AdminError)) throw error
    const isThere = error.status !== undefined || !/is the daemon running/.test(error.message)
    return isThere ? { state: 'strange', says: error.message } : { state: 'absent' }
  }
}
