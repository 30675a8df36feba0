import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { Overlay, Peer } from '../../overlay/overlay.ts'
import type { AccessClient } from '../../peers/access-client.ts'
import { keyOfRepository } from '../../providers/index-key.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { ClusterVerdicts } from './public-verdicts.ts'

export interface SharedVerdictsOptions {
  readonly overlay: Pick<Overlay, 'self' | 'closest'>
  readonly client: Pick<AccessClient, 'ask' | 'tell'>
  /** How many nodes are asked and told. */
  readonly replicas: number
  readonly log: Pick<Log, 'debug'>
}

/** A pull waits for it. */
const ASK_TIMEOUT = 500
const TELL_TIMEOUT = 2 * second

/** What the nodes closest to a repository's name know about it. They keep it in memory, as each node keeps its own. */
export class SharedVerdicts implements ClusterVerdicts {
  readonly #options: SharedVerdictsOptions

  constructor(options: SharedVerdictsOptions) {
    this.#options = options
  }

  async ask(repository: Repository): Promise<number | undefined> {
    const what = 'asking the cluster whether a repository is public'
    try {
      return await withDeadline(ASK_TIMEOUT, what, new AbortController().signal, async (signal) => {
        const keepers = await this.#keepers(repository, signal)
        return Promise.any(
          keepers.map(async (peer) => {
            const age = await this.#options.client.ask(peer, repository, { signal })
            if (age === undefined) throw new Error(`${peer.address} does not know`)
            return age
          }),
        )
      })
    } catch {
      // Nobody knows, or nobody says so in time: the registry is asked.
      return undefined
    }
  }

  tell(repository: Repository, isPublic: boolean): void {
    void this.#tell(repository, isPublic).catch((error: unknown) => {
      const fields = { repository: repositoryKey(repository), err: errorText(error) }
      this.#options.log.debug(fields, 'the cluster was not told whether a repository is public')
    })
  }

  async #tell(repository: Repository, isPublic: boolean): Promise<void> {
    const signal = AbortSignal.timeout(TELL_TIMEOUT)
    const keepers = await this.#keepers(repository, signal)
    await Promise.all(keepers.map((peer) => this.#options.client.tell(peer, repository, isPublic, { signal })))
  }

  async #keepers(repository: Repository, signal: AbortSignal): Promise<readonly Peer[]> {
    const { overlay, replicas } = this.#options
    const closest = await overlay.closest(keyOfRepository(repository), replicas + 1, { signal })
    return closest.filter((peer) => peer.id !== overlay.self.id).slice(0, replicas)
  }
}
