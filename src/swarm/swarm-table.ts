import type { Peer } from '../overlay/overlay.ts'
import { type Rules, chooseSources } from './choose-sources.ts'
import type { ItemState } from './item.ts'
import { betterAsker, claimLease, goesAlone, grantLease, liveLease } from './leases.ts'
import { DEFAULT_LIMITS, GRANT_IN_FLIGHT, type SwarmLimits, WAIT_MAX, WAIT_MIN } from './limits.ts'
import { type MemberState, pathOf } from './member.ts'
import type { JoinAnswer, JoinRequest, ReportAnswer, ReportEntry, ReportRequest } from './messages.ts'
import type { NodeState } from './node.ts'
import { leaveItem } from './outcomes.ts'
import { reviewPace, shouldAskAgain, succeeds } from './rebalance.ts'
import { SwarmState } from './state.ts'
import { adoptParent, noteLeft } from './tree.ts'

export interface SwarmTableOptions {
  /** Children of a member in the tree of one item. */
  readonly treeChildren: number
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** From 0 to below 1. */
  readonly random?: () => number
  readonly limits?: Partial<SwarmLimits>
}

export interface Decision {
  readonly answer: JoinAnswer
  /** Peers whose claim to hold it proved wrong. */
  readonly disproved: readonly string[]
}

export interface SwarmTableStats {
  readonly items: number
  readonly members: number
  readonly leases: number
  /** Ever. */
  readonly leasesGranted: number
  /** Ever: granted after another member had it. */
  readonly leasesMoved: number
  /** Ever: members that were given a source but not remembered because of the limits. */
  readonly overflows: number
}

/**
 * What a coordinator knows about who fetches what, and its rules. Soft state, bounded, without timers and sockets: what it loses
 * comes back with the members' next reports.
 */
export class SwarmTable {
  readonly #now: () => number
  readonly #random: () => number
  readonly #treeChildren: number
  readonly #limits: SwarmLimits
  readonly #state: SwarmState
  #granted = 0
  #moved = 0

  constructor(options: SwarmTableOptions) {
    this.#now = options.now
    this.#random = options.random ?? Math.random
    this.#treeChildren = options.treeChildren
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#state = new SwarmState(this.#limits)
  }

  /**
   * Decides where a member gets an item from; to ask again is normal. `holders`: complete holders by the provider index;
   * `rank`: of this node for the item, 0 if it is the closest. `mayGrant`: false if another node decides who goes upstream.
   */
  join(request: JoinRequest, holders: readonly Peer[], rank: number, { mayGrant = true } = {}): Decision {
    const now = this.#now()
    const item = this.#state.item(request.item, request.kind)
    const told = toldToAll(item, now)
    if (told !== undefined) return { answer: told, disproved: [] }
    const node = this.#state.nodes.hear(request.member)
    const member = this.#state.member(item, node, now)
    if (member.complete) becomePartial(member)
    update(item, member, request, now)
    member.askedAt = now
    member.recalled = false
    member.detach()
    const disproved = noteLeft(item, member, request.left, this.#state, now)
    const answer = this.#decide(item, member, request, holders, { rank, mayGrant })
    return { answer, disproved }
  }

  /** Takes in how members' transfers go. An entry of an unknown item creates it: so a coordinator that is new learns all. */
  report(request: ReportRequest, rank: number): ReportAnswer {
    const now = this.#now()
    const node = this.#state.nodes.hear(request.member)
    return request.entries.map((entry) => {
      if (entry.outcome === undefined) return this.#progress(node, entry, rank, now)
      leaveItem(this.#state, node, entry, entry.outcome, now)
      return 'ok'
    })
  }

  /** A node left the cluster, and all that it fetched and held. */
  drop(peerId: string): void {
    this.#state.drop(peerId)
  }

  /** Forgets what has run out. To be called about once a second. */
  expire(): void {
    this.#state.expire(this.#now())
  }

  has(item: string): boolean {
    return this.#state.items.has(item)
  }

  /** Who reads from whom, for diagnosis. */
  tree(item: string): readonly { readonly id: string; readonly parents: readonly string[] }[] {
    const members = this.#state.items.get(item)?.members.values() ?? []
    return Array.from(members, ({ id, parents }) => ({ id, parents: parents.map((parent) => parent.id) }))
  }

  stats(): SwarmTableStats {
    const now = this.#now()
    const { items, members, overflows } = this.#state
    let leases = 0
    for (const item of items.values()) if (liveLease(item, now)) leases++
    return { items: items.size, members, leases, leasesGranted: this.#granted, leasesMoved: this.#moved, overflows }
  }

  #decide(
    item: ItemState,
    member: MemberState,
    request: JoinRequest,
    holders: readonly Peer[],
    { rank, mayGrant }: { readonly rank: number; readonly mayGrant: boolean },
  ): JoinAnswer {
    const now = this.#now()
    const { lease } = request
    const kept = lease !== undefined && claimLease(item, member, lease, { rank, now })
    const mine = liveLease(item, now)?.holder === member
    if (mayGrant && succeeds(item, member, now)) return this.#grant(item, member, rank, now)
    const sources = item.kind === 'tag' ? [] : this.#choose(item, member, holders, now)
    if (sources.length > 0 && (!mine || sources.every((source) => source.complete))) {
      return this.#follow(item, member, sources, now)
    }
    if (mine && item.lease !== undefined) {
      this.#state.enter(item, member, { always: true })
      return { type: 'upstream', lease: { epoch: item.lease.epoch, rank: item.lease.rank } }
    }
    if (kept && goesAlone(item, member, now)) return { type: 'upstream', lease }
    const held = liveLease(item, now)
    // It has nothing to wait for, and nobody will ever follow it.
    if (held !== undefined && item.kind !== 'tag' && !held.holder.serves && !member.serves)
      return { type: 'upstream', lease: { epoch: held.epoch, rank: held.rank } }
    if (!mayGrant || this.#mustWait(item, member, now)) {
      this.#state.enter(item, member)
      return { type: 'wait', ms: Math.round(WAIT_MIN + this.#random() * (WAIT_MAX - WAIT_MIN)) }
    }
    return this.#grant(item, member, rank, now)
  }

  #choose(item: ItemState, member: MemberState, holders: readonly Peer[], now: number): MemberState[] {
    return chooseSources(item, member, holders, this.#rules(now))
  }

  #rules(now: number): Rules {
    return {
      now,
      random: this.#random,
      treeChildren: this.#treeChildren,
      limits: this.#limits,
      nodes: this.#state.nodes,
    }
  }

  #follow(item: ItemState, member: MemberState, sources: readonly MemberState[], now: number): JoinAnswer {
    if (item.lease?.holder === member) item.lease = undefined
    const answer = sources.map((source) => ({
      peer: source.node.peer,
      complete: source.complete,
      level: pathOf(source).level,
    }))
    for (const source of sources) source.node.handedOut++
    member.placedAt = now
    // A source that only the index named is remembered as well: its children are counted.
    const known = this.#state.enter(item, member) && sources.every((source) => this.#state.enter(item, source))
    if (known) member.follow(sources)
    return { type: 'follow', sources: answer }
  }

  #mustWait(item: ItemState, member: MemberState, now: number): boolean {
    const held = liveLease(item, now)
    const hopeless = held !== undefined && item.kind !== 'tag' && !held.holder.serves && member.serves
    if (held !== undefined && !(hopeless && now - held.grantedAt > GRANT_IN_FLIGHT)) return true
    return betterAsker(item, member, now)
  }

  #grant(item: ItemState, member: MemberState, rank: number, now: number): JoinAnswer {
    this.#state.enter(item, member, { always: true })
    if (grantLease(item, member, rank, now)) this.#moved++
    this.#granted++
    return { type: 'upstream', lease: { epoch: item.epoch, rank } }
  }

  #progress(node: NodeState, entry: ReportEntry, rank: number, now: number): 'ok' | 'ask' {
    const item = this.#state.item(entry.item, entry.kind)
    const member = this.#state.member(item, node, now)
    // On its way while the member finished.
    if (member.complete && now - member.seenAt < GRANT_IN_FLIGHT) return 'ok'
    if (member.complete) becomePartial(member)
    if (!this.#state.enter(item, member, { always: entry.lease !== undefined })) return 'ok'
    update(item, member, entry, now)
    if (entry.lease !== undefined) {
      // If no source can be named to it, to ask would only interrupt its transfer.
      if (!claimLease(item, member, entry.lease, { rank, now }))
        return this.#choose(item, member, [], now).length > 0 ? 'ask' : 'ok'
      if (item.lease?.holder === member) reviewPace(item, member, now)
      return 'ok'
    }
    if (item.lease?.holder === member && now - item.lease.grantedAt > GRANT_IN_FLIGHT) item.lease = undefined
    if (item.lease?.holder !== member) adoptParent(item, member, entry.parent, this.#treeChildren, now)
    return shouldAskAgain(item, member, this.#rules(now)) ? 'ask' : 'ok'
  }
}

function toldToAll(item: ItemState, now: number): JoinAnswer | undefined {
  const value = item.tag(now)
  if (value !== undefined) return { type: 'known', value }
  const failure = liveLease(item, now) === undefined ? item.failure(now) : undefined
  return failure && { type: 'failed', failure }
}

/** It has lost its copy, or fetches it anew. */
function becomePartial(member: MemberState): void {
  member.complete = false
  member.position = 0
  member.cut()
}

function update(item: ItemState, member: MemberState, said: JoinRequest | ReportEntry, now: number): void {
  item.size ??= said.size
  member.advance(said.position, now)
  member.serves = said.serves
  member.upstreamRate = said.upstreamRate
  item.place(member)
}
