import { ReplayWindow } from './replay-window.ts'
import { minute } from '../time/units.ts'
import type { Log } from '../telemetry/log.ts'
import { PacedWarnings } from '../telemetry/paced-warnings.ts'
import type { LocalMember } from '../membership/local-member.ts'
import { type MemberRecord, readRecord } from '../membership/member-record.ts'

/** A member that has proved itself to this node. */
export interface KnownMember {
  readonly record: MemberRecord
  readonly requests: ReplayWindow
}

interface Entry extends KnownMember {
  record: MemberRecord
  recordText: string
  /** The IP address that its first request came from. */
  readonly from: string
  /** Milliseconds, monotonic. */
  heardAt: number
}

export interface KnownMembersOptions {
  readonly local: LocalMember
  /** Cap on members: more than the largest cluster has. */
  readonly limit?: number
  /** Cap on members whose first request came from one IP address. */
  readonly limitPerAddress?: number
  readonly log: Pick<Log, 'warn'>
}

const MAX_MEMBERS = 20_000
/** Several nodes may share an address (NAT, labs), and a node that restarts without `--data-dir` has a new id. */
const MAX_MEMBERS_PER_ADDRESS = 512
/** A member that is silent for this long may be forgotten: live members announce themselves every 20 s. */
const MEMORY = 10 * minute

/**
 * The members whose requests this node has accepted, with their records and the counters that they have used. A node that forgets a member's
 * counters would accept its old requests again, so it begins a new incarnation then.
 */
export class KnownMembers {
  readonly #options: Required<KnownMembersOptions>
  readonly #members = new Map<string, Entry>()
  /** Ids, by {@link placeOf}. */
  readonly #byAddress = new Map<string, string>()
  readonly #perSource = new Map<string, number>()
  readonly #listeners = new Set<(id: string) => void>()
  readonly #warnings: PacedWarnings<'full'>
  #sweptAt = performance.now()

  constructor(options: KnownMembersOptions) {
    this.#options = { limit: MAX_MEMBERS, limitPerAddress: MAX_MEMBERS_PER_ADDRESS, ...options }
    this.#warnings = new PacedWarnings(options.log)
  }

  get size(): number {
    return this.#members.size
  }

  get(id: string): KnownMember | undefined {
    return this.#members.get(id)
  }

  /**
   * Tells of each member whose advertised address a member with a newer incarnation has taken over, from the same IP address: any member can
   * advertise the address of another host's. Returns its own end.
   */
  onReplaced(listener: (id: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Notes that the member has just sent an authentic request. */
  heard(id: string): void {
    const entry = this.#members.get(id)
    if (entry !== undefined) entry.heardAt = performance.now()
  }

  /**
   * Adds the member `id` by the record that came with its request, or updates its record. `from`: the IP address of the connection. undefined
   * if the record is not the member's own; `full` at a limit.
   */
  introduce(id: string, recordText: string, from: string): KnownMember | 'full' | undefined {
    const known = this.#members.get(id)
    if (known?.recordText === recordText) return known
    const record = readRecord(recordText)
    if (record?.id !== id) return undefined
    if (known !== undefined) {
      this.#release(known)
      known.record = record
      known.recordText = recordText
      this.#claimAddress(known)
      return known
    }
    this.#sweep()
    const { limit, limitPerAddress } = this.#options
    const count = this.#perSource.get(from) ?? 0
    if (this.#members.size >= limit || count >= limitPerAddress) {
      this.#warnings.warn(
        'full',
        'this node refuses a new member: it has reached the limit of members, for one address or in total; members that are silent for ten minutes are forgotten; if fewer nodes than that run at this address, its host invents identities: block it at the peer port',
        () => ({ address: from, members: count, limit: limitPerAddress, total: this.#members.size }),
      )
      return 'full'
    }
    const entry: Entry = { record, recordText, from, heardAt: performance.now(), requests: new ReplayWindow() }
    this.#members.set(id, entry)
    this.#perSource.set(from, count + 1)
    this.#claimAddress(entry)
    return entry
  }

  #claimAddress(entry: Entry): void {
    const { id, incarnation } = entry.record
    const address = placeOf(entry)
    const before = this.#byAddress.get(address)
    const older = before === undefined ? undefined : this.#members.get(before)
    if (older !== undefined && older.record.incarnation > incarnation) return
    this.#byAddress.set(address, id)
    if (before !== undefined && before !== id) for (const listener of this.#listeners) listener(before)
  }

  #release(entry: Entry): void {
    const address = placeOf(entry)
    if (this.#byAddress.get(address) === entry.record.id) this.#byAddress.delete(address)
  }

  /** Forgets the silent members, at most once in {@link MEMORY}: each time costs every member one repeated request. */
  #sweep(): void {
    const now = performance.now()
    if (now - this.#sweptAt < MEMORY) return
    this.#sweptAt = now
    let forgotten = 0
    for (const [id, entry] of this.#members) {
      if (now - entry.heardAt < MEMORY) continue
      this.#members.delete(id)
      this.#release(entry)
      const count = (this.#perSource.get(entry.from) ?? 1) - 1
      if (count > 0) this.#perSource.set(entry.from, count)
      else this.#perSource.delete(entry.from)
      forgotten++
    }
    if (forgotten > 0) this.#options.local.renew()
  }
}

/** The IP address that a member's requests come from, with the address that it advertises. */
function placeOf({ from, record: { addresses } }: Entry): string {
  return `${from} ${addresses[0]}`
}
