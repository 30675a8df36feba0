import { MAX_EXCLUDED } from './limits.ts'
import type { MemberState } from './member.ts'
import { MemberList } from './member-list.ts'
import type { JoinRequest, Lease } from './messages.ts'
import type { SharedFailure, SharedTag } from './swarm.ts'

export interface HeldLease extends Lease {
  readonly holder: MemberState
  readonly grantedAt: number
}

interface Until<T> {
  readonly value: T
  readonly until: number
}

/** Who fetches or holds one item, and what all of them are told. */
export class ItemState {
  readonly name: string
  readonly kind: JoinRequest['kind']
  size: number | undefined
  /** The address of the node because of which the table remembers the item. */
  keptFor = ''
  readonly members = new Map<string, MemberState>()
  readonly everybody = new MemberList()
  /** One that is kept though it is no longer live is its holder's until somebody else wants it. */
  lease: HeldLease | undefined
  /** The highest that was seen. */
  epoch = 0
  /** The lease that was taken from its holder: it is not to come back by its lower epoch. */
  superseded: Lease | undefined
  lastHolder: string | undefined
  /** Who is to get the lease next, because it is faster. */
  successor: Until<string> | undefined
  movedAt = Number.NEGATIVE_INFINITY
  /** Where the lease holder was at the start of the window in which its rate is measured. */
  pace: { readonly at: number; readonly position: number } | undefined
  /** The furthest that anybody has come. */
  front = 0
  #tag: Until<SharedTag> | undefined
  #failure: Until<SharedFailure> | undefined
  readonly #excluded = new Map<string, number>()
  readonly #zones = new Map<string, MemberList>()
  readonly #zoneOf = new Map<MemberState, string>()

  constructor(name: string, kind: JoinRequest['kind']) {
    this.name = name
    this.kind = kind
  }

  add(member: MemberState): void {
    this.members.set(member.id, member)
    this.everybody.add(member)
    this.place(member)
  }

  /** Its node may say for the first time where it is. */
  place(member: MemberState): void {
    const { zone } = member.node
    if (!this.members.has(member.id) || this.#zoneOf.get(member) === zone) return
    this.#leaveZone(member)
    if (zone === undefined) return
    this.#zoneOf.set(member, zone)
    const list = this.#zones.get(zone) ?? new MemberList()
    this.#zones.set(zone, list)
    list.add(member)
  }

  delete(member: MemberState): void {
    member.cut()
    if (this.lease?.holder === member) this.lease = undefined
    this.members.delete(member.id)
    this.everybody.delete(member)
    this.#leaveZone(member)
  }

  inZone(zone: string): MemberList | undefined {
    return this.#zones.get(zone)
  }

  tag(now: number): SharedTag | undefined {
    return live(this.#tag, now)
  }

  failure(now: number): SharedFailure | undefined {
    return live(this.#failure, now)
  }

  share(tag: SharedTag, until: number): void {
    this.#tag = { value: tag, until }
  }

  fail(failure: SharedFailure, until: number): void {
    this.#failure = { value: failure, until }
  }

  /** A source of nothing or of wrong bytes is not handed out, and who reads from it is called back. */
  exclude(id: string, until: number): void {
    if (this.#excluded.size >= MAX_EXCLUDED && !this.#excluded.has(id)) return
    this.#excluded.set(id, Math.max(until, this.#excluded.get(id) ?? 0))
    for (const child of this.members.get(id)?.children ?? []) child.recalled = true
  }

  excludes(id: string, now: number): boolean {
    return (this.#excluded.get(id) ?? now) > now
  }

  /** Forgets what has run out, members apart. */
  expire(now: number): void {
    this.#tag = live(this.#tag, now) && this.#tag
    this.#failure = live(this.#failure, now) && this.#failure
    for (const [id, until] of this.#excluded) if (until <= now) this.#excluded.delete(id)
  }

  get empty(): boolean {
    return this.members.size === 0 && !this.#tag && !this.#failure && this.#excluded.size === 0
  }

  #leaveZone(member: MemberState): void {
    const zone = this.#zoneOf.get(member)
    if (zone === undefined) return
    this.#zoneOf.delete(member)
    const list = this.#zones.get(zone)
    list?.delete(member)
    if (list?.size === 0) this.#zones.delete(zone)
  }
}

function live<T>(shared: Until<T> | undefined, now: number): T | undefined {
  return shared !== undefined && shared.until > now ? shared.value : undefined
}
