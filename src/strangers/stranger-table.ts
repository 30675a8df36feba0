import { addressKey } from '../overlay/host-port.ts'
import type { Log } from '../telemetry/log.ts'
import { PacedWarnings } from '../telemetry/paced-warnings.ts'
import { second } from '../time/units.ts'

export interface StrangerLimits {
  readonly perAddress: number
  readonly total: number
}

/**
 * Why a stranger's connection was closed or refused: it sent no request in time (`silent`), its address or all addresses had reached their
 * limit, the listener had no connection left (`full`), or the bodies of strangers' requests took too many bytes (`bytes`).
 */
export type StrangerRefusal = 'silent' | 'address' | 'total' | 'full' | 'bytes'

export interface StrangerTableOptions<C> {
  readonly listener: 'peer' | 'router'
  readonly limits: StrangerLimits
  /** Whether a connection may be closed at a limit; one with an open request may not. */
  readonly isIdle: (connection: C) => boolean
  readonly close: (connection: C) => void
  readonly log: Pick<Log, 'warn'>
  /** In milliseconds, monotonic. */
  readonly clock?: () => number
}

interface Stranger {
  readonly address: string
  readonly since: number
}

/**
 * Time that a member needs at most to prove itself on a new connection: a few round trips, and the CPU time of both nodes while a cluster
 * starts. Connections that are closed sooner may have been members'.
 */
const PROOF_TIME = 1 * second
/** Two periods of the chart's readiness probe: readiness does not flap between two refusals of one episode. */
const MEMORY = 20 * second

const FULL_ADVICE =
  'find the program that opens so many connections, and keep it from the port by a firewall or a NetworkPolicy'
const WARNINGS: Readonly<Record<Exclude<StrangerRefusal, 'silent'>, string>> = {
  address:
    'one address has as many connections without a proof of membership as it may have: its oldest ones are closed; if no member has this address, keep it from the port by a firewall or a NetworkPolicy',
  total: `all addresses together have as many connections without a proof of membership as they may have: the oldest ones are closed; ${FULL_ADVICE}`,
  full: `no connection is left, and new ones are refused; ${FULL_ADVICE}`,
  bytes: `requests without a proof of membership have bodies of as many bytes as they may have together, and further ones are refused; ${FULL_ADVICE}`,
}

/** The connections of one listener that have not proved membership, by age, with their limits. */
export class StrangerTable<C extends object> {
  /** The connections that were closed or refused since the start. */
  readonly refused: Record<StrangerRefusal, number> = { silent: 0, address: 0, total: 0, full: 0, bytes: 0 }
  readonly #options: StrangerTableOptions<C>
  readonly #clock: () => number
  /** The oldest first. */
  readonly #strangers = new Map<C, Stranger>()
  readonly #countByAddress = new Map<string, number>()
  readonly #warnings: PacedWarnings<StrangerRefusal>
  #keptMembersOutAt = -Infinity

  constructor(options: StrangerTableOptions<C>) {
    this.#options = options
    this.#clock = options.clock ?? (() => performance.now())
    this.#warnings = new PacedWarnings(options.log, this.#clock)
  }

  get size(): number {
    return this.#strangers.size
  }

  /**
   * Adds a new connection. At a limit it closes the oldest idle connection: a member proves itself within a round trip, so an old connection
   * is no member's. Returns false, and adds nothing, if no connection is idle; the caller then closes the new one.
   */
  admit(connection: C, remoteAddress: string | undefined): boolean {
    const { perAddress, total } = this.#options.limits
    const address = addressKey(remoteAddress)
    if ((this.#countByAddress.get(address) ?? 0) >= perAddress) {
      const oldest = this.#oldestIdle((stranger) => stranger.address === address)
      this.note('address', address)
      if (oldest === undefined) return false
      this.#evict(oldest)
    } else if (this.#strangers.size >= total) {
      const oldest = this.#oldestIdleOfMost()
      this.note('total')
      const since = oldest && this.#strangers.get(oldest)?.since
      if (since === undefined || this.#clock() - since < PROOF_TIME) this.#keptMembersOutAt = this.#clock()
      if (oldest === undefined) return false
      this.#evict(oldest)
    }
    this.#strangers.set(connection, { address, since: this.#clock() })
    this.#countByAddress.set(address, (this.#countByAddress.get(address) ?? 0) + 1)
    return true
  }

  /** Forgets a connection that has closed or proved membership. */
  remove(connection: C): void {
    const stranger = this.#strangers.get(connection)
    if (stranger === undefined) return
    this.#strangers.delete(connection)
    const count = (this.#countByAddress.get(stranger.address) ?? 1) - 1
    if (count > 0) this.#countByAddress.set(stranger.address, count)
    else this.#countByAddress.delete(stranger.address)
  }

  /** Counts a refusal, and warns of it at most once a minute. */
  note(refusal: StrangerRefusal, at?: string): void {
    this.refused[refusal] += 1
    if (refusal === 'full') this.#keptMembersOutAt = this.#clock()
    if (refusal === 'silent') return
    this.#warnings.warn(refusal, WARNINGS[refusal], () => {
      const { listener, limits } = this.#options
      const limit = refusal === 'address' ? limits.perAddress : refusal === 'total' ? limits.total : undefined
      const address = at ?? this.#addressOfMost()
      const connections = address === undefined ? 0 : this.#countByAddress.get(address)
      return { listener, ...(limit === undefined ? {} : { limit }), address, connections }
    })
  }

  /** Whether connections of members were possibly refused in the last 10 s. */
  keepsMembersOut(): boolean {
    return this.#clock() - this.#keptMembersOutAt < MEMORY
  }

  #evict(connection: C): void {
    this.remove(connection)
    this.#options.close(connection)
  }

  #oldestIdle(matches: (stranger: Stranger) => boolean): C | undefined {
    for (const [connection, stranger] of this.#strangers)
      if (matches(stranger) && this.#options.isIdle(connection)) return connection
    return undefined
  }

  /** The oldest idle connection of the address that has the most: a flood from a few addresses costs other addresses nothing. */
  #oldestIdleOfMost(): C | undefined {
    let [found, most] = [undefined as C | undefined, 0]
    for (const [connection, { address }] of this.#strangers) {
      const count = this.#countByAddress.get(address) ?? 0
      if (count > most && this.#options.isIdle(connection)) [found, most] = [connection, count]
    }
    return found
  }

  #addressOfMost(): string | undefined {
    let [found, most] = [undefined as string | undefined, 0]
    for (const [address, count] of this.#countByAddress) if (count > most) [found, most] = [address, count]
    return found
  }
}
