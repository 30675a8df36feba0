import type { RegistrySet } from '../delivery/access/registry-policy.ts'
import type { TagPolicy } from '../delivery/tags/tag-resolver.ts'
import type { BootstrapSpec } from '../overlay/bootstrap/parse-bootstrap.ts'
import type { HostPort } from '../overlay/host-port.ts'
import type { LOG_LEVELS } from '../telemetry/log.ts'

/** The parsed flags of `nabo serve`. Times are in milliseconds, sizes in bytes. */
export interface ServeConfig {
  readonly mirrorAddr: readonly HostPort[]
  readonly peerAddr: readonly HostPort[]
  readonly routerAddr: readonly HostPort[]
  readonly adminAddr: readonly HostPort[]
  readonly metricsAddr: readonly HostPort[]
  /** Path of the Unix socket for commands, or `none`; the default of this user if absent. */
  readonly adminSocket?: string
  /** Further names by which clients may address the mirror and admin listeners. */
  readonly allowedHost: readonly string[]
  /** Addresses of this node that peers are told; if empty, those of `peerAddr`, or those of the default routes if `peerAddr` is every address. */
  readonly advertiseAddr: readonly string[]
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
  readonly clusterSecretFile?: string
  /** Lets the peer and router listeners leave loopback in a cluster without a secret. No effect with a secret. */
  readonly insecureWithoutSecret: boolean
  readonly registries: RegistrySet
  readonly fallback: RegistrySet
  readonly upstream: ReadonlyMap<string, readonly URL[]>
  readonly registryCa: ReadonlyMap<string, string>
  readonly credentialsFile?: string
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
