import type { RegistrySet } from '../delivery/access/registry-policy.ts'
import type { TagPolicy } from '../delivery/tags/tag-resolver.ts'
import type { ImagePattern } from '../oci/image-pattern.ts'
import type { BootstrapSpec } from '../overlay/bootstrap/parse-bootstrap.ts'
import type { HostPort } from '../overlay/host-port.ts'
import type { LOG_LEVELS } from '../telemetry/log.ts'

/** An address of a listener. */
export interface ListenAddress extends HostPort {
  /** Set for an advertised address, which may appear on this machine after the daemon has started. */
  readonly mayComeLate?: true
}

/** `advertise:7951` as the value of a flag: every advertised address with this port. */
export interface AdvertisedPort {
  readonly advertisedPort: number
}

/** Clients of the mirror: a network, or the default gateways of this machine. */
export type MirrorSource = 'gateway' | { readonly address: string; readonly prefix: number }

/** A token server in another domain than its registry: a host, with its port if it is not the default one. */
export interface TokenRealm {
  readonly registry: string
  readonly host: string
}

/** The listeners that can be on the advertised addresses. */
export type AdvertisedListener = 'peerAddr' | 'routerAddr' | 'metricsAddr'

/** The parsed flags of `nabo serve`, before {@link ServeConfig} resolves the advertised addresses. */
export interface ServeFlags
  extends
    Omit<ServeConfig, AdvertisedListener | 'advertiseAddr'>,
    Readonly<Record<AdvertisedListener, readonly (HostPort | AdvertisedPort)[]>> {
  /** Empty: those of `peerAddr` if it names some, else those of the default routes. */
  readonly advertiseAddr: readonly string[]
}

/** The flags of `nabo serve` with all addresses resolved. Times are in milliseconds, sizes in bytes. */
export interface ServeConfig {
  readonly mirrorAddr: readonly HostPort[]
  /** Whose connections the mirror accepts besides loopback; empty for all. */
  readonly mirrorFrom: readonly MirrorSource[]
  readonly peerAddr: readonly ListenAddress[]
  readonly routerAddr: readonly ListenAddress[]
  readonly adminAddr: readonly HostPort[]
  readonly metricsAddr: readonly ListenAddress[]
  /** How long the daemon waits at its start for a port that another process still has; absent: it fails at once. */
  readonly portWait?: number
  /** Path of the Unix socket for commands, or `none`; the default of this user if absent. */
  readonly adminSocket?: string
  /** Further names by which clients may address the mirror and admin listeners. */
  readonly allowedHost: readonly string[]
  /** Addresses of this node that peers are told, the preferred one first. */
  readonly advertiseAddr: readonly [string, ...string[]]
  readonly bootstrap: BootstrapSpec
  readonly bootstrapDns?: HostPort
  readonly store: 'auto' | 'containerd' | 'directory'
  readonly containerdSocket: string
  /** Empty: all of them. */
  readonly containerdNamespace: readonly string[]
  readonly contentPath?: string
  readonly containerdConfig: string
  /** The directory of hosts.toml files. */
  readonly configDir: string
  readonly cacheDir: string
  readonly cacheSize: number
  readonly dataDir?: string
  readonly runDir?: string
  readonly clusterSecretFile?: string
  /** Lets the peer and router listeners leave loopback in a cluster without a secret. No effect with a secret. */
  readonly insecureWithoutSecret: boolean
  readonly registries: RegistrySet
  /** Images that are mirrored; empty for all. */
  readonly include: readonly ImagePattern[]
  /** Images that are not. */
  readonly exclude: readonly ImagePattern[]
  readonly fallback: RegistrySet
  readonly upstream: ReadonlyMap<string, readonly URL[]>
  readonly registryCa: ReadonlyMap<string, string>
  readonly registryClientCert: ReadonlyMap<string, { readonly cert: string; readonly key: string }>
  /** Token servers in other domains than their registries that get credentials all the same. */
  readonly tokenRealm: readonly TokenRealm[]
  readonly credentialsFile?: string
  /** The kubelet's `CredentialProviderConfig`, and the directory of the programs that it names. */
  readonly credentialProviderConfig?: string
  readonly credentialProviderBinDir?: string
  readonly privateImages: 'verify' | 'share' | 'skip'
  readonly mirrorTokenFile?: string
  readonly tagPolicy: TagPolicy
  readonly zone?: string
  readonly indexReplicas: number
  readonly treeChildren: number
  readonly peerMaxTransfers: number
  /** Bytes a second; no limit if absent. */
  readonly peerBandwidth?: number
  readonly upstreamBandwidth?: number
  readonly stallTimeout: number
  readonly upstreamTimeout: number
  readonly maxConnections: number
  readonly shutdownGrace: number
  readonly logLevel: (typeof LOG_LEVELS)[number]
}
