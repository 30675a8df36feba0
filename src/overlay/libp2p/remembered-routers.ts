import type { BootstrapSource, BootstrapTarget } from '../bootstrap/bootstrap-source.ts'
import { parseTarget } from '../bootstrap/parse-bootstrap.ts'
import { minute } from '../../time/units.ts'

/** Cap on the addresses: a few nodes are a foothold, and tell of all others. */
export const MAX_REMEMBERED = 128

/** Of one member, for a cluster with two address families. */
const MAX_PER_MEMBER = 2

/** A node that restarts is back within a minute or two, one that is drained and rebooted within ten. */
const FORGET_AFTER_MS = 15 * minute

export interface RememberedRoutersOptions {
  /** The multiaddrs of an earlier {@link RememberedRouters.list}. */
  readonly kept: readonly string[]
  /** In milliseconds, monotonic. */
  readonly clock: () => number
  /** Whether no member is connected: then nothing is forgotten. */
  readonly isAlone: () => boolean
  /** Called after each change with the new list. */
  readonly onChange: (routers: readonly string[]) => void
}

/**
 * The routers of the members that were connected lately, as candidates beside the bootstrap source. So a node that restarts while the cluster's
 * DNS is down finds its members again, and they find it: by address alone, since its identity may be another one.
 */
export class RememberedRouters implements BootstrapSource {
  readonly #clock: () => number
  readonly #isAlone: () => boolean
  readonly #onChange: RememberedRoutersOptions['onChange']
  /** When each was lost, undefined while it is connected; the latest one last. */
  readonly #lostAt = new Map<string, number | undefined>()

  constructor({ kept, clock, isAlone, onChange }: RememberedRoutersOptions) {
    this.#clock = clock
    this.#isAlone = isAlone
    this.#onChange = onChange
    for (const router of kept.slice(0, MAX_REMEMBERED).toReversed()) this.#lostAt.set(router, clock())
  }

  joined(routers: readonly { toString(): string }[]): void {
    this.#put(routers, undefined)
  }

  left(routers: readonly { toString(): string }[]): void {
    this.#put(routers, this.#clock())
  }

  /** The multiaddrs, the latest first. */
  list(): readonly string[] {
    return [...this.#lostAt.keys()].toReversed()
  }

  async candidates(): Promise<readonly BootstrapTarget[]> {
    if (!this.#isAlone()) this.#forget()
    return [...this.#lostAt.keys()].flatMap((router) => parseTarget(router) ?? [])
  }

  #put(routers: readonly { toString(): string }[], lostAt: number | undefined): void {
    for (const router of routers.slice(0, MAX_PER_MEMBER).map(String).toReversed()) {
      this.#lostAt.delete(router)
      this.#lostAt.set(router, lostAt)
    }
    for (const [oldest] of this.#lostAt) {
      if (this.#lostAt.size <= MAX_REMEMBERED) break
      this.#lostAt.delete(oldest)
    }
    this.#onChange(this.list())
  }

  #forget(): void {
    const before = this.#clock() - FORGET_AFTER_MS
    const { size } = this.#lostAt
    for (const [router, lostAt] of this.#lostAt)
      if (lostAt !== undefined && lostAt < before) this.#lostAt.delete(router)
    if (this.#lostAt.size < size) this.#onChange(this.list())
  }
}
