import type { ClusterNode } from '../../../test/support/cluster-node.ts'
import type { Cluster } from '../../../test/support/netns-cluster.ts'
import type { Version } from '../images.ts'
import type { Transfer } from '../results.ts'

/** What a contender has to work with: nodes with a containerd each, a host of its own, and the registry. */
export interface Site {
  readonly cluster: Cluster
  readonly nodes: readonly ClusterNode[]
  /** One more host with a link like a node's, for what is no node. */
  readonly host: ClusterNode
}

/** One way to get images to nodes. */
export interface Contender {
  readonly id: string
  readonly title: string
  readonly description?: string
  readonly version?: string
  /** Wants containerds that serve the CRI as well. */
  readonly cri?: boolean
  /** Starts it on all nodes and waits until it is ready. Throws {@link MirrorFailure} if it does not get that far. */
  start(site: Site): Promise<Mirror>
}

export interface MirrorProcess {
  /** The name of the node, or of the host, that it runs on. */
  readonly node: string
  readonly pid: number
  /** How it ended, in words; undefined while it runs. */
  readonly ended: () => string | undefined
  /** What it wrote. */
  readonly log: () => readonly string[]
  /** SIGKILL, and waits. */
  readonly kill: () => Promise<void>
}

export interface Settling {
  /** When to stop waiting. */
  readonly signal?: AbortSignal
}

/** A contender that runs. Its processes end with the cluster. */
export interface Mirror {
  readonly processes: readonly MirrorProcess[]
  /** What a node's hosts.toml names; undefined: the registry alone. */
  urlFor(node: ClusterNode): string | undefined
  /** Waits until what these nodes have pulled can be found by the others, as it would be a while later. */
  settle(holders: readonly ClusterNode[], versions: readonly Version[], options?: Settling): Promise<void>
  /** Who got what from whom since then, as far as its processes say; undefined: only the registry knows. Times are since `began`. */
  transfers(began: Date): readonly Transfer[] | undefined
}

/** What was asked for is no contender; its message says why. */
export class NoContenderError extends Error {
  override readonly name = 'NoContenderError'
}

/** A contender did not become ready, or ended. */
export class MirrorFailure extends Error {
  override readonly name = 'MirrorFailure'
  readonly log: string

  constructor(message: string, log: readonly string[], options?: ErrorOptions) {
    super(message, options)
    this.log = log.join('\n')
  }
}
