import type { Multiaddr } from '@multiformats/multiaddr'

import { minute } from '../../time/units.ts'
import type { BootstrapSource, BootstrapTarget } from '../bootstrap/bootstrap-source.ts'
import { parseNodeAddress, parseRouter } from './addresses.ts'

/** Cap on the addresses: a few nodes are a foothold, and tell of all others. */
export const MAX_REMEMBERED = 128

/** Of one member, for a cluster with two address families. */
const MAX_PER_MEMBER = 2

/** Of one host, whether members connect from it or say that their routers are there: one host cannot fill the list with inventions. */
const MAX_PER_HOST = 8

/** A node that restarts is back within a minute or two, one that is drained and rebooted within ten. */
const FORGET_AFTER_MS = 15 * minute

/** A member that was connected for so long is taken at its word about its address; behind NAT nothing else proves it. */
const PROVEN_AFTER_MS = 1 * minute

/** Of an address that nothing proves; four rounds take some 15 s. */
const MAX_FAILED_DIALS = 4

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

/** A member that joined, as {@link RememberedRouters} takes it. */
export interface JoinedMember {
  readonly id: string
  /** The host that it is connected from, or was dialled at. */
  readonly from: string | undefined
  /** Where it says that others can dial it, best first. */
  readonly routers: readonly Multiaddr[]
}

interface Remembered {
  readonly router: Multiaddr
  readonly host: string | undefined
  /** The member that has the address, or had it last; undefined for one of the last process. */
  readonly id: string | undefined
  readonly from: string | undefined
  /** Whether a member was there, as far as this node can tell. */
  readonly isProven: boolean
  /** Undefined while its member is connected. */
  readonly lostAt: number | undefined
  failures: number
}

/**
 * The routers of the members that were connected lately, as candidates beside the bootstrap source. So a node that restarts while the cluster's
 * DNS is down finds its members again, and they find it: by address alone, since its identity may be another one. A member can say that its
 * router is anywhere; the caps and the proofs keep what one host invents few and short-lived.
 */
export class RememberedRouters implements BootstrapSource {
  readonly #clock: () => number
  readonly #isAlone: () => boolean
  readonly #onChange: RememberedRoutersOptions['onChange']
  /** By the text of the multiaddr; the latest one last. */
  readonly #entries = new Map<string, Remembered>()
  readonly #joined = new Map<string, JoinedMember & { readonly at: number }>()

  constructor({ kept, clock, isAlone, onChange }: RememberedRoutersOptions) {
    this.#clock = clock
    this.#isAlone = isAlone
    this.#onChange = onChange
    for (const text of kept.slice(0, MAX_REMEMBERED).toReversed()) {
      const router = parseRouter(text)
      if (router !== undefined) this.#put({ router, id: undefined, from: undefined, isProven: true, lostAt: clock() })
    }
  }

  /** A member has connected, or is connected with other routers than before. */
  joined(member: JoinedMember): void {
    const before = this.#joined.get(member.id)
    if (before !== undefined) this.#lose(before)
    const joined = { ...member, routers: member.routers.slice(0, MAX_PER_MEMBER), at: before?.at ?? this.#clock() }
    this.#joined.set(member.id, joined)
    this.#note(joined, undefined)
    this.#onChange(this.list())
  }

  left(id: string): void {
    const member = this.#joined.get(id)
    if (member === undefined) return
    this.#lose(member)
    this.#onChange(this.list())
  }

  /** A dial of one of the candidates failed. */
  failed(router: Multiaddr): void {
    const entry = this.#entries.get(router.toString())
    // alone, the fault may be this node's own
    if (entry === undefined || entry.isProven || entry.lostAt === undefined || this.#isAlone()) return
    entry.failures += 1
    if (entry.failures < MAX_FAILED_DIALS) return
    this.#entries.delete(router.toString())
    this.#onChange(this.list())
  }

  /** The multiaddrs, the latest first. */
  list(): readonly string[] {
    return [...this.#entries.keys()].toReversed()
  }

  async candidates(): Promise<readonly BootstrapTarget[]> {
    if (!this.#isAlone()) this.#forget()
    return [...this.#entries.values()].map(({ router }) => ({ type: 'multiaddr', multiaddr: router }))
  }

  #lose(member: JoinedMember & { readonly at: number }): void {
    this.#joined.delete(member.id)
    this.#note(member, this.#clock())
  }

  /** The best router of a member last, so that it is the latest. */
  #note({ id, from, routers, at }: JoinedMember & { readonly at: number }, lostAt: number | undefined): void {
    const isOldMember = lostAt !== undefined && lostAt - at >= PROVEN_AFTER_MS
    for (const router of routers.toReversed()) {
      const known = this.#entries.get(router.toString())
      const isProven = from !== undefined && parseNodeAddress(router)?.host === from
      const isOthers = known !== undefined && known.lostAt === undefined && known.id !== id
      // A member cannot take over, or lose, what a connected one has; only the host itself can, with a new identity after a restart.
      if (isOthers && (lostAt !== undefined || !isProven)) continue
      this.#put({ router, id, from, isProven: isProven || isOldMember || known?.isProven === true, lostAt })
    }
  }

  #put(entry: Omit<Remembered, 'host' | 'failures'>): void {
    const text = entry.router.toString()
    const host = parseNodeAddress(entry.router)?.host
    this.#entries.delete(text)
    this.#entries.set(text, { ...entry, host, failures: 0 })
    if (entry.id !== undefined) this.#limit(MAX_PER_MEMBER, ({ id }) => id === entry.id)
    if (entry.from !== undefined) this.#limit(MAX_PER_HOST, ({ from }) => from === entry.from)
    this.#limit(MAX_PER_HOST, (other) => other.host === host)
    this.#limit(MAX_REMEMBERED, () => true)
  }

  /** Of too many, those that nothing proves go first, then lost ones, then those of connected members; the oldest of them first. */
  #limit(max: number, belongs: (entry: Remembered) => boolean): void {
    const all = [...this.#entries.values()].filter(belongs)
    const rank = ({ lostAt, isProven }: Remembered) => (lostAt === undefined ? 2 : isProven ? 1 : 0)
    const evicted = all.toSorted((a, b) => rank(a) - rank(b)).slice(0, Math.max(0, all.length - max))
    for (const { router } of evicted) this.#entries.delete(router.toString())
  }

  #forget(): void {
    const before = this.#clock() - FORGET_AFTER_MS
    const { size } = this.#entries
    for (const [text, { lostAt }] of this.#entries)
      if (lostAt !== undefined && lostAt < before) this.#entries.delete(text)
    if (this.#entries.size < size) this.#onChange(this.list())
  }
}
