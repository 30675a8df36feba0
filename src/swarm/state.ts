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
  /** How many items are remembered because of each node, by its id. */
  readonly #kept = new Map<string, number>()
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
    const { node } = member
    const isFull = this.members >= this.#limits.maxMembers || node.memberships >= this.#limits.maxItemsPerNode
    if (!this.keep(item, node.peer.id) || (isFull && !always)) {
      this.overflows++
      return false
    }
    item.add(member)
    this.nodes.enter(member.node)
    this.members++
    return true
  }

  /** Remembers an item because of a node, if there is room. */
  keep(item: ItemState, nodeId: string): boolean {
    if (this.items.get(item.name) === item) return true
    const { maxItems, maxItemsPerNode } = this.#limits
    const kept = this.#kept.get(nodeId) ?? 0
    if (this.items.size >= maxItems || kept >= maxItemsPerNode) return false
    this.items.set(item.name, item)
    item.keptFor = nodeId
    this.#kept.set(nodeId, kept + 1)
    return true
  }

  remove(item: ItemState, member: MemberState): void {
    if (item.members.get(member.id) !== member) return
    item.delete(member)
    this.nodes.exit(member.node)
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
    if (!this.items.delete(item.name) || item.keptFor === undefined) return
    const kept = (this.#kept.get(item.keptFor) ?? 1) - 1
    if (kept > 0) this.#kept.set(item.keptFor, kept)
    else this.#kept.delete(item.keptFor)
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
