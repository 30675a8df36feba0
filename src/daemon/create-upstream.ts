import type { ServeConfig } from '../config/serve-config.ts'
import { includesRegistry } from '../delivery/access/registry-policy.ts'
import type { Log } from '../telemetry/log.ts'
import { Bandwidth } from '../mover/bandwidth.ts'
import { readProviders } from '../upstream/registry/credential-providers.ts'
import { type Credentials, inOrder, readCredentials } from '../upstream/registry/credentials.ts'
import { createHttpClient } from '../upstream/registry/http-client.ts'
import { type ReachedAddress, reachAddresses } from '../upstream/registry/reach.ts'
import { RegistryClient } from '../upstream/registry/registry-client.ts'
import type { QuotaGate } from '../upstream/quota/quota-gate.ts'
import { AddressClient, type ObserveRequest } from '../upstream/registry/address-client.ts'
import { type AddressView, Addresses } from '../upstream/registry/addresses.ts'
import { Authorization } from '../upstream/registry/authorization.ts'
import { readProxies } from '../upstream/registry/proxies.ts'
import { RegistrySession } from '../upstream/registry/registry-session.ts'
import { TokenCache } from '../upstream/registry/token-cache.ts'
import { TokenRealms } from '../upstream/registry/token-realms.ts'
import type { Upstream } from '../upstream/upstream.ts'

export interface OwnedUpstream {
  readonly upstream: Upstream
  /** How each address of a registry is doing. */
  addresses(): AddressView[]
  /** Asks each address of a registry whether it is there. */
  reach(registry: string, options: { signal: AbortSignal }): Promise<readonly ReachedAddress[]>
  close(): Promise<void>
}

/** The registries as this node's flags say. Throws an Error with one sentence for a file that cannot be read. */
export async function createUpstream(
  config: ServeConfig,
  parts: { observe: ObserveRequest; quota: QuotaGate; log: Log },
): Promise<OwnedUpstream> {
  const { observe, quota, log } = parts
  const credentials = await readSources(config, log)
  const http = await createHttpClient({
    headerTimeout: config.upstreamTimeout,
    idleTimeout: config.upstreamTimeout,
    authorities: config.registryCa,
    proxyFor: readProxies(process.env),
    isNamed: (registry) => config.upstream.has(registry),
  })
  const realms = new TokenRealms(config.tokenRealm, log)
  const authorization = new Authorization({
    tokens: new TokenCache(http),
    realms,
    credentialRefused: (refused) => credentials.refused(refused),
  })
  const client = new AddressClient({ http, authorization, findCredential: credentials.find, observe, quota, log })
  const addresses = new Addresses(config.upstream, log)
  const session = new RegistrySession(addresses, client)
  const bandwidth = config.upstreamBandwidth === undefined ? undefined : new Bandwidth(config.upstreamBandwidth)
  const mayGet = (registry: string) => includesRegistry(config.fallback, registry)
  const close = () => {
    credentials.close()
    return http.close()
  }
  return {
    upstream: new RegistryClient(session, { bandwidth, mayGet }),
    addresses: () => addresses.views(),
    reach: (registry, options) => reachAddresses(http, addresses.of(registry), { ...options, realms }),
    close,
  }
}

/** The credentials file comes before the kubelet's providers. */
async function readSources(config: ServeConfig, log: Log): Promise<Credentials> {
  const { credentialsFile, credentialProviderConfig, credentialProviderBinDir: directory } = config
  const sources: Credentials[] = []
  if (credentialsFile !== undefined) sources.push(await readCredentials(credentialsFile, { log }))
  if ((credentialProviderConfig === undefined) !== (directory === undefined))
    throw new Error(
      'only one of --credential-provider-config, a file, and --credential-provider-bin-dir, the directory of its programs, is set: set both',
    )
  if (credentialProviderConfig !== undefined && directory !== undefined) {
    sources.push(await readProviders(credentialProviderConfig, { directory, log }))
  }
  return inOrder(sources)
}
