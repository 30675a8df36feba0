import { existsSync } from 'node:fs'

import type { FlagDifference } from '../config/given-flags.ts'
import type { ServeConfig } from '../config/serve-config.ts'
import type { QuotaView } from '../upstream/quota/quota-view.ts'
import type { CredentialTrouble } from '../upstream/registry/credential-troubles.ts'
import type { CertificatesView } from '../upstream/registry/tls/registry-tls.ts'
import type { ContainerdConfig, ReadConfigOptions } from './containerd-config.ts'
import type { NeighbourLook } from './neighbours.ts'
import type { RefusedNode } from '../overlay/refused-nodes.ts'
import type { ContainerdLook } from '../store/containerd/running-containerd.ts'

/** The part of the daemon's settings that the checks look at. */
export type DoctorSettings = Pick<
  ServeConfig,
  | 'mirrorAddr'
  | 'peerAddr'
  | 'routerAddr'
  | 'adminAddr'
  | 'metricsAddr'
  | 'store'
  | 'containerdSocket'
  | 'containerdConfig'
  | 'configDir'
  | 'contentPath'
  | 'cacheDir'
  | 'cacheSize'
  | 'credentialsFile'
  | 'credentialProviderConfig'
  | 'clusterSecretFile'
  | 'mirrorTokenFile'
  | 'registries'
  | 'include'
  | 'exclude'
  | 'fallback'
  | 'upstream'
  | 'bootstrap'
>

/** What a daemon says about itself. */
export type DaemonLook =
  | { readonly state: 'absent' }
  /** Something answers there that is no daemon, or one that cannot be understood. */
  | { readonly state: 'strange'; readonly says: string }
  | {
      readonly state: 'running'
      readonly ready: boolean
      readonly reasons: readonly string[]
      readonly store: 'containerd' | 'directory'
      /** Bytes of all blobs that it holds. */
      readonly storedBytes: number
      /** The addresses of each listener; those of the metrics listener and the Unix socket only if there are any. */
      readonly listeners: Readonly<Record<'mirror' | 'peer' | 'router' | 'admin' | 'metrics', readonly string[]>>
      readonly adminSocket?: string
      /** The address that other nodes are told. */
      readonly self: { readonly address: string }
      /** Other members that the daemon believes alive. */
      readonly peerCount: number
      /** Nodes that could not join the cluster in the last minutes, or whose cluster this node could not join. */
      readonly refusedNodes: readonly RefusedNode[]
      readonly credentialTroubles: readonly CredentialTrouble[]
    }

/** How one address of a registry is doing. */
export interface UpstreamLook {
  readonly registry: string
  /** `registry-1.docker.io`, with its port if it is not the usual one, and with its path if it has one. */
  readonly host: string
  /** Why images cannot be had there; undefined if they can, as far as is known. */
  readonly failure?: string
  /** Its token server, which is in another domain and gets no credentials, and the flag that allows it. */
  readonly withheld?: { readonly tokenServer: string; readonly flag: string }
  /** It is a mirror of Nabo, perhaps this node's own. */
  readonly isNabo?: boolean
  /** How far its clock is ahead of ours, in milliseconds. */
  readonly clockAhead?: number | undefined
}

/** What another node answered to a request with the secret that is in the file now. */
export interface SecretProbe {
  readonly address: string
  /** Why it refuses the request; absent if it accepts it. */
  readonly refusal?: string
}

/** A node that the bootstrap names, and whether its router port can be connected to. */
export interface CandidateLook {
  readonly address: string
  readonly isSelf: boolean
  readonly failure?: string
}

/** The settings are such that the daemon cannot start with them: one sentence for its operator. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError'
}

/** Where the checks look. Each rejects with an Error of one sentence where looking itself fails. */
export interface NodeSources {
  containerd(signal: AbortSignal): Promise<ContainerdLook>
  containerdConfig(options: ReadConfigOptions): Promise<ContainerdConfig>
  /** Whether a directory is mounted into this container. */
  isMounted(directory: string): Promise<boolean>
  /** Whether a directory of this node is what `there`, a path that containerd names, means. */
  isSameDirectory(here: string, there: string): Promise<boolean>
  daemon(signal: AbortSignal): Promise<DaemonLook>
  /** Rejects with SettingsError too. */
  upstreams(signal: AbortSignal): Promise<readonly UpstreamLook[]>
  /** Rejects with SettingsError too. */
  certificates(signal: AbortSignal): Promise<CertificatesView>
  /** undefined if no registry has been asked. */
  quotas(daemon: DaemonLook, signal: AbortSignal): Promise<readonly QuotaView[] | undefined>
  /** The other members, in large clusters only some of them. Asked only while a daemon runs here. */
  neighbours(signal: AbortSignal): Promise<readonly NeighbourLook[]>
  /** Of some of these neighbours. */
  secretProbes(neighbours: readonly NeighbourLook[], signal: AbortSignal): Promise<readonly SecretProbe[]>
  candidates(signal: AbortSignal): Promise<readonly CandidateLook[]>
  /** The addresses of a host's name; empty if it has none, or if names are not looked up here. */
  resolve(host: string, signal: AbortSignal): Promise<readonly string[]>
}

/** This node during one run of the checks: everything is looked at once at most, when the first check asks. */
export interface Node {
  readonly settings: DoctorSettings
  /** The flags that were given with other values than the daemon of this node has. */
  readonly differences: readonly FlagDifference[]
  /** Why a daemon with these settings has no address for other nodes, and does not start. */
  readonly addressProblem?: string | undefined
  /** In a container most of the host's files cannot be seen: that one is missing says nothing then. */
  readonly isContained: boolean
  /** Whether what is in a directory, or is missing there, is so on the node too. */
  isVisible(directory: string): Promise<boolean>
  readonly environment: Readonly<Record<string, string | undefined>>
  resolve(host: string, signal: AbortSignal): Promise<readonly string[]>
  isSameDirectory(here: string, there: string): Promise<boolean>
  containerd(): Promise<ContainerdLook>
  containerdConfig(): Promise<ContainerdConfig>
  daemon(): Promise<DaemonLook>
  upstreams(): Promise<readonly UpstreamLook[]>
  certificates(): Promise<CertificatesView>
  quotas(): Promise<readonly QuotaView[] | undefined>
  neighbours(): Promise<readonly NeighbourLook[]>
  secretProbes(): Promise<readonly SecretProbe[]>
  candidates(): Promise<readonly CandidateLook[]>
}

export interface NodeOptions {
  readonly settings: DoctorSettings
  readonly differences?: readonly FlagDifference[]
  readonly addressProblem?: string | undefined
  readonly sources: NodeSources
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly isContained?: boolean
  /** Ends all looking. */
  readonly signal: AbortSignal
}

export function lookAt(options: NodeOptions): Node {
  const { settings, differences = [], addressProblem, sources, signal, environment } = options
  const containerd = once(() => sources.containerd(signal))
  const daemon = once(() => sources.daemon(signal))
  const neighbours = once(async () => {
    const { state } = await daemon()
    return state === 'running' ? sources.neighbours(signal) : []
  })
  const isContained = options.isContained ?? isInContainer(environment)
  const isVisible = async (directory: string) => !isContained || sources.isMounted(directory)
  return {
    settings,
    differences,
    addressProblem,
    environment,
    isContained,
    isVisible,
    isSameDirectory: (here, there) => sources.isSameDirectory(here, there),
    resolve: (host, limit) => sources.resolve(host, limit),
    containerd,
    containerdConfig: once(async () => {
      const look = await containerd()
      return sources.containerdConfig({ running: look.state === 'answers' ? look : undefined, isVisible })
    }),
    daemon,
    upstreams: once(() => sources.upstreams(signal)),
    certificates: once(() => sources.certificates(signal)),
    quotas: once(async () => sources.quotas(await daemon(), signal)),
    neighbours,
    secretProbes: once(async () => sources.secretProbes(await neighbours(), signal)),
    candidates: once(() => sources.candidates(signal)),
  }
}

/** Which store a daemon with these settings takes, or has taken. */
export async function storeOf(node: Node): Promise<'containerd' | 'directory'> {
  const daemon = await node.daemon()
  if (daemon.state === 'running') return daemon.store
  const { store } = node.settings
  if (store !== 'auto') return store
  return (await node.containerd()).state === 'absent' ? 'directory' : 'containerd'
}

/** Whether containerd's own settings matter here. */
export async function hasContainerd(node: Node): Promise<boolean> {
  return (await node.containerd()).state !== 'absent' || (await storeOf(node)) === 'containerd'
}

/** What goes on in a host's filesystem is hidden from a container but for what is mounted. */
export function isInContainer(environment: NodeOptions['environment']): boolean {
  return (
    environment['KUBERNETES_SERVICE_HOST'] !== undefined ||
    existsSync('/.dockerenv') ||
    existsSync('/run/.containerenv')
  )
}

function once<T>(look: () => Promise<T>): () => Promise<T> {
  let looking: Promise<T> | undefined
  return () => {
    if (looking === undefined) {
      looking = look()
      // Who asked may have given up by the time it fails.
      looking.catch(() => {})
    }
    return looking
  }
}
