import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { access } from '../../contracts/node/access.ts'
import type { NodeCaller } from '../../contracts/node-caller.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { Overlay, Peer } from '../../overlay/overlay.ts'
import { keyOfRepository } from '../../providers/index-key.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { NamedContent, PublicWord } from './audience.ts'
import type { ClusterProofs } from './public-proofs.ts'

export interface SharedProofsOptions {
  readonly overlay: Pick<Overlay, 'self' | 'closest'>
  readonly nodes: NodeCaller
  /** Number of nodes that keep the verdict of a repository. */
  readonly replicas: number
  readonly log: Pick<Log, 'debug'>
}

/** Short, in milliseconds: a pull waits for the answer. */
const ASK_TIMEOUT = 500
const TELL_TIMEOUT = 2 * second
/** Longer than the three seconds that the other node waits for the registry. */
const PROVE_TIMEOUT = 3.5 * second
/** Backoff after a node that did not answer. */
const AVOIDED = 30 * second
const MAX_AVOIDED = 1000

/**
 * Shares registries' answers to anonymous requests in the cluster. The nodes closest to a repository's name keep its verdict. The closest
 * node sends the HEADs for all nodes, so the registry gets one per digest and repository.
 */
export class SharedProofs implements ClusterProofs {
  readonly #options: SharedProofsOptions
  readonly #avoided = new LRUCache<string, true>({ ...atMost(MAX_AVOIDED), ttl: AVOIDED })

  constructor(options: SharedProofsOptions) {
    this.#options = options
  }

  async ask(repository: Repository): Promise<number | undefined> {
    const what = 'asking the cluster whether a repository is public'
    try {
      return await withDeadline(ASK_TIMEOUT, what, new AbortController().signal, async (signal) => {
        const keepers = await this.#keepers(repository, signal)
        return Promise.any(
          keepers.others.map(async (peer) => {
            const { age } = await this.#options.nodes.call(peer, access, { repository }, { signal })
            if (age === undefined) throw new Error(`${peer.address} does not know`)
            return age
          }),
        )
      })
    } catch {
      // No node knows, or none answered in time: the caller asks the registry.
      return undefined
    }
  }

  async prove(repository: Repository, content: NamedContent): Promise<PublicWord | undefined> {
    const what = 'having a registry asked for the cluster'
    let asked: Peer | undefined
    try {
      return await withDeadline(PROVE_TIMEOUT, what, new AbortController().signal, async (signal) => {
        const { before } = await this.#keepers(repository, signal)
        asked = before.find(({ id }) => !this.#avoided.has(id))
        if (asked === undefined) return undefined
        const { word = 'unknown', age = 0 } = await this.#options.nodes.call(
          asked,
          access,
          { repository, content },
          { signal },
        )
        return { word, age }
      })
    } catch (error) {
      if (asked !== undefined) this.#avoided.set(asked.id, true)
      this.#log(repository, error, 'another node did not ask a registry for this one')
      return undefined
    }
  }

  tell(repository: Repository, isPublic: boolean): void {
    void this.#tell(repository, isPublic).catch((error: unknown) => {
      this.#log(repository, error, 'the cluster was not told whether a repository is public')
    })
  }

  async #tell(repository: Repository, isPublic: boolean): Promise<void> {
    const signal = AbortSignal.timeout(TELL_TIMEOUT)
    const { others } = await this.#keepers(repository, signal)
    const message = { repository, found: isPublic ? 'public' : 'closed' } as const
    await Promise.all(others.map((peer) => this.#options.nodes.call(peer, access, message, { signal })))
  }

  /** `others`: the nodes closest to a repository's name without this node, closest first. `before`: those closer than this node. */
  async #keepers(repository: Repository, signal: AbortSignal) {
    const { overlay, replicas } = this.#options
    const closest = await overlay.closest(keyOfRepository(repository), replicas + 1, { signal })
    const own = closest.findIndex((peer) => peer.id === overlay.self.id)
    const others = closest.filter((_, rank) => rank !== own).slice(0, replicas)
    return { others, before: own < 0 ? others : others.slice(0, own) }
  }

  #log(repository: Repository, error: unknown, message: string): void {
    this.#options.log.debug({ repository: repositoryKey(repository), err: errorText(error) }, message)
  }
}
