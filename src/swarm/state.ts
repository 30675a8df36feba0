import { ItemState } from './item.ts'
import { COMPLETE_TTL, MEMBER_TTL, type SwarmLimits } from './limits.ts'
import { MemberState } from './member.ts'
import type { JoinRequest } from './messages.ts'
import type { NodeState } from './node.ts'
import { Nodes } from './nodes.ts'

/** All items and members of a table, within its limits. */
export class SwarmState {
  readonly items = new Map<string, ItemState>()
  readonly nodes = new Nodes()
  /** How many items are remembered because of the nodes behind an address, and how many transfers these nodes have. */
  readonly #keptBy = new Map<string, number>()
  readonly #membersBy = new Map<string, number>()
  /** Of all items together. */
  members = 0
  overflows = 0
  readonly #limits: SwarmLimits

  constructor(limits: SwarmLimits) {
    this.#limits = limits
  }

  /** The item; a new one is remembered as soon as something is entered or kept. */
  item(name: string, kind: JoinRequest['kind']): ItemState {
    return this.items.get(name) ?? new ItemState(name, kind)
  }

  /** The node's transfer; a new one is remembered when it is entered. */
  member(item: ItemState, node: NodeState, now: number): MemberState {
    return item.members.get(node.peer.id) ?? new MemberState(node, now)
  }

  /** Remembers a member, and its item. False if there is no room. A lease is `always` remembered: an item has one. */
  enter(item: ItemState, member: MemberState, { always = false }: { always?: boolean } = {}): boolean {
    if (item.members.get(member.id) === member) return true
    const { remoteAddress } = member.node
    const { maxMembers, maxMembersPerAddress } = this.#limits
    const isFull = this.members >= maxMembers || exceeds(this.#membersBy, remoteAddress, maxMembersPerAddress)
    if (!this.keep(item, remoteAddress) || (isFull && !always)) {
      this.overflows++
      return false
    }
    item.add(member)
    member.enteredFor = remoteAddress
    add(this.#membersBy, remoteAddress, 1)
    this.nodes.enter(member.node)
    this.members++
    return true
  }

  /** Remembers an item because of a node behind an address, if there is room. */
  keep(item: ItemState, remoteAddress: string): boolean {
    if (this.items.get(item.name) === item) return true
    const { maxItems, maxItemsPerAddress } = this.#limits
    if (this.items.size >= maxItems || exceeds(this.#keptBy, remoteAddress, maxItemsPerAddress)) return false
    this.items.set(item.name, item)
    item.keptFor = remoteAddress
    add(this.#keptBy, remoteAddress, 1)
    return true
  }

  remove(item: ItemState, member: MemberState): void {
    if (item.members.get(member.id) !== member) return
    item.delete(member)
    this.nodes.exit(member.node)
    add(this.#membersBy, member.enteredFor, -1)
    this.members--
    if (item.empty) this.#forget(item)
  }

  drop(peerId: string): void {
    if (!this.nodes.has(peerId)) return
    for (const item of this.items.values()) {
      const member = item.members.get(peerId)
      if (member !== undefined) this.remove(item, member)
    }
  }

  #forget(item: ItemState): void {
    if (this.items.delete(item.name)) add(this.#keptBy, item.keptFor, -1)
  }

  expire(now: number): void {
    for (const item of this.items.values()) {
      for (const member of item.members.values()) if (isOver(member, now)) this.remove(item, member)
      item.expire(now)
      if (item.empty) this.#forget(item)
    }
  }
}

/** A complete one says nothing more, but those that read from it are counted as long as they do. */
function isOver(member: MemberState, now: number): boolean {
  if (!member.complete) return now - member.seenAt >= MEMBER_TTL
  return now - member.seenAt >= COMPLETE_TTL && member.children.size === 0
}

/** This node itself, and holders that the index names, have no address here and no limit of their own. */
function exceeds(counts: ReadonlyMap<string, number>, address: string, limit: number): boolean {
  return address !== '' && (counts.get(address) ?? 0) >= limit
}

function add(counts: Map<string, number>, address: string, difference: 1 | -1): void {
  const count = (counts.get(address) ?? 0) + difference
  if (count > 0) counts.set(address, count)
  else counts.delete(address)
}
