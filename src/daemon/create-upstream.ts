import type { ServeConfig } from '../config/serve-config.ts'
import { includesRegistry } from '../delivery/access/registry-policy.ts'
import { everyRegistry } from '../runtimes/containerd/host-directories.ts'
import type { SystemTrust } from '../http-client/system-trust.ts'
import { looksLikeRegistry } from '../oci/reference.ts'
import type { Log } from '../telemetry/log.ts'
import { Bandwidth } from '../mover/bandwidth.ts'
import { readProviders } from '../upstream/registry/credential-providers.ts'
import { type CredentialTrouble, CredentialTroubles } from '../upstream/registry/credential-troubles.ts'
import {
  type Credentials,
  type CredentialsOptions,
  inOrder,
  readCredentials,
} from '../upstream/registry/credentials.ts'
import { createHttpClient } from '../upstream/registry/http-client.ts'
import { type ReachedAddress, reachAddresses } from '../upstream/registry/reach.ts'
import { RegistryClient } from '../upstream/registry/registry-client.ts'
import type { QuotaGate } from '../upstream/quota/quota-gate.ts'
import { AddressClient, type ObserveRequest } from '../upstream/registry/address-client.ts'
import { type AddressView, Addresses } from '../upstream/registry/addresses.ts'
import { Authorization } from '../upstream/registry/authorization.ts'
import { readProxies } from '../upstream/registry/proxies.ts'
import { RegistrySession } from '../upstream/registry/registry-session.ts'
import { type CertificatesView, RegistryTls } from '../upstream/registry/tls/registry-tls.ts'
import { TokenCache } from '../upstream/registry/token-cache.ts'
import { TokenRealms } from '../upstream/registry/token-realms.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { findContainerdCertificates } from './containerd-certificates.ts'

export interface OwnedUpstream {
  readonly upstream: Upstream
  /** How each address of a registry is doing. */
  addresses(): AddressView[]
  /** Asks each address of a registry whether it is there. */
  reach(registry: string, options: { signal: AbortSignal }): Promise<readonly ReachedAddress[]>
  /** What is wrong with credentials, as far as this node's requests have shown. */
  credentialTroubles(): readonly CredentialTrouble[]
  /** The certificates for the registries of the flags and of containerd's directory. */
  certificates(): Promise<CertificatesView>
  close(): Promise<void>
}

const MAX_SHOWN = 100

/** The registries as this node's flags say. Throws an Error with one sentence for a file that cannot be read. */
export async function createUpstream(
  config: ServeConfig,
  parts: { observe: ObserveRequest; quota: QuotaGate; trust: SystemTrust; log: Log },
): Promise<OwnedUpstream> {
  const { observe, quota, trust, log } = parts
  const troubles = new CredentialTroubles(log)
  const credentials = await readSources(config, { log, troubles })
  const addresses = new Addresses(config.upstream, log)
  const tls = await RegistryTls.create({
    trust,
    ca: config.registryCa,
    client: config.registryClientCert,
    find: (registry) => findContainerdCertificates(config.configDir, registry),
    ownUrls: (registry) => addresses.of(registry).flatMap(({ url, isOwn }) => (isOwn ? [url] : [])),
    log,
  })
  const http = createHttpClient({
    headerTimeout: config.upstreamTimeout,
    idleTimeout: config.upstreamTimeout,
    tls,
    log,
    proxyFor: readProxies(process.env),
    isNamed: (registry) => config.upstream.has(registry),
  })
  const realms = new TokenRealms(config.tokenRealm, { log, troubles })
  const authorization = new Authorization({
    tokens: new TokenCache(http),
    realms,
    credentialRefused: (asker, credential, isWrong) => {
      if (isWrong) troubles.refused(asker)
      credentials.refused(credential)
    },
  })
  const client = new AddressClient({
    http,
    authorization,
    findCredential: credentials.find,
    observe,
    quota,
    troubles,
    log,
  })
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
    credentialTroubles: () => troubles.list(),
    certificates: async () => tls.view(await registriesToShow(config)),
    close,
  }
}

async function registriesToShow(config: ServeConfig): Promise<readonly string[]> {
  const { registries, fallback, upstream, registryCa, registryClientCert, configDir } = config
  // A directory that cannot be read is the business of another check.
  const inDirectory = (await everyRegistry(configDir).catch(() => [])).filter(looksLikeRegistry)
  const inFlags = [...(typeof fallback === 'string' ? [] : fallback), ...upstream.keys()]
  const all = new Set([...inFlags, ...registryCa.keys(), ...registryClientCert.keys(), ...inDirectory])
  return [...all].filter((registry) => includesRegistry(registries, registry)).slice(0, MAX_SHOWN)
}

/** The credentials file comes before the kubelet's providers. */
async function readSources(config: ServeConfig, options: CredentialsOptions): Promise<Credentials> {
  const { credentialsFile, credentialProviderConfig, credentialProviderBinDir: directory } = config
  const sources: Credentials[] = []
  if (credentialsFile !== undefined) sources.push(await readCredentials(credentialsFile, options))
  if ((credentialProviderConfig === undefined) !== (directory === undefined))
    throw new Error(
      'only one of --credential-provider-config, a file, and --credential-provider-bin-dir, the directory of its programs, is set: set both',
    )
  if (credentialProviderConfig !== undefined && directory !== undefined) {
    sources.push(await readProviders(credentialProviderConfig, { ...options, directory }))
  }
  return inOrder(sources)
}
