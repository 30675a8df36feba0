import type { Peer } from '../overlay/overlay.ts'
import { second } from '../time/units.ts'
import type { ItemState } from './item.ts'
import { liveLease } from './leases.ts'
import { COMPLETE_TTL, MAX_SOURCES, MEMBER_TTL, SAMPLE, type SwarmLimits } from './limits.ts'
import { FULL_SHARE, MemberState, descendsFrom, pathOf } from './member.ts'
import type { Nodes } from './nodes.ts'

/** What a choice depends on beside the item. */
export interface Rules {
  readonly now: number
  readonly random: () => number
  readonly treeChildren: number
  readonly limits: SwarmLimits
  readonly nodes: Nodes
}

export interface Candidate {
  readonly member: MemberState
  /** What is true of the lower comes before any cost. */
  readonly grade: number
  readonly cost: number
}

/** Added to the grade of what is no good choice but better than the upstream. */
const TOO_DEEP = 3
const SLOW = 6
/** Two reports are never exactly of the same moment. */
const SLACK = 1024 * 1024
/** A member without a source of its own that is still moving will have one again soon. */
const MOVING = 2 * second
/** Manifests are small: many may ask the same node, and depth costs a round trip. */
const MANIFEST_CHILD_COST = 1 / 64

/**
 * The best sources for a member that has none now (it is detached): one in progress, or up to four complete ones. Of its own
 * zone if anybody there is on the way, so that each zone is fed once. Those that the index names come as members that are not in the item yet.
 */
export function chooseSources(
  item: ItemState,
  asker: MemberState,
  holders: readonly Peer[],
  rules: Rules,
): MemberState[] {
  const { better } = asker
  asker.better = undefined
  if (better !== undefined && judge(item, asker, better, rules)?.grade === 0) return [better]
  const named = namedHolders(item, asker, holders, rules)
  const { zone } = asker.node
  if (zone !== undefined) {
    const near = item.inZone(zone)?.sample(SAMPLE, rules.random) ?? []
    const found = best(item, asker, [...named.filter((holder) => holder.node.zone === zone), ...near], rules)
    if (found.length > 0 && !found.every((source) => asker.slow.has(source.id))) return found
  }
  const leader = item.lease === undefined ? [] : [item.lease.holder]
  return best(item, asker, [...leader, ...named, ...item.everybody.sample(SAMPLE, rules.random)], rules)
}

/** The index's holders in a random order, so that not everybody begins with the same. */
function namedHolders(item: ItemState, asker: MemberState, holders: readonly Peer[], rules: Rules): MemberState[] {
  const { nodes, now, random } = rules
  const start = Math.floor(random() * holders.length)
  const some = [...holders.slice(start), ...holders.slice(0, start)].slice(0, SAMPLE)
  const others = some.filter((peer) => peer.id !== asker.id)
  return others.map((peer) => {
    const known = item.members.get(peer.id)
    const member = known ?? new MemberState(nodes.of(peer), now)
    if (known === undefined) member.complete = true
    if (member.complete) member.seenAt = now
    return member
  })
}

function best(item: ItemState, asker: MemberState, pool: readonly MemberState[], rules: Rules): MemberState[] {
  const candidates = new Map<MemberState, Candidate>()
  let first: Candidate | undefined
  for (const member of pool) {
    const candidate = candidates.has(member) ? undefined : judge(item, asker, member, rules)
    if (candidate === undefined) continue
    candidates.set(member, candidate)
    if (first === undefined || compare(candidate, first) < 0) first = candidate
  }
  if (first === undefined || !first.member.complete) return first === undefined ? [] : [first.member]
  const { cost, grade } = first
  const isEqual = (other: Candidate) => other.member.complete && other.cost === cost && other.grade === grade
  const equals = [...candidates.values()].filter(isEqual)
  return equals
    .sort(compare)
    .slice(0, MAX_SOURCES)
    .map(({ member }) => member)
}

/** How good a source a member is; undefined if it is none for the asker. */
export function judge(item: ItemState, asker: MemberState, member: MemberState, rules: Rules): Candidate | undefined {
  if (!isOffered(item, asker, member, rules)) return undefined
  const { now, limits } = rules
  const { root, level } = pathOf(member)
  if (descendsFrom(member, asker)) return undefined
  const connected = root.complete || root === liveLease(item, now)?.holder
  const grade = gradeOf(connected, member, asker, now)
  if (grade === undefined) return undefined
  const children = Math.floor(member.load / FULL_SHARE)
  // Each further one slows more of them down: the second child costs one `childCost`, the third two more.
  const crowd = item.kind === 'manifest' ? children * MANIFEST_CHILD_COST : triangle(children) * limits.childCost
  const cost = level + crowd
  const deep = level < limits.maxDepth ? 0 : TOO_DEEP
  const slow = asker.slow.has(member.id) ? SLOW : 0
  return { member, grade: grade + deep + slow, cost }
}

function triangle(count: number): number {
  return (count * (count + 1)) / 2
}

/** 0: ahead and fed; 1: ahead, will be fed again; 2: behind, but fed. */
function gradeOf(connected: boolean, member: MemberState, asker: MemberState, now: number): number | undefined {
  const leads = member.parents.length === 0
  if (connected) return leads || member.estimate(now) + SLACK >= asker.position ? 0 : 2
  const moving = now - member.progressAt < MOVING && now - member.seenAt < MOVING
  return moving && member.position > asker.position ? 1 : undefined
}

function isOffered(item: ItemState, asker: MemberState, member: MemberState, rules: Rules): boolean {
  const { now, treeChildren } = rules
  if (member === asker || !(member.serves || member.complete)) return false
  if (now - member.seenAt >= (member.complete ? COMPLETE_TTL : MEMBER_TTL) && member.children.size === 0) return false
  if ((asker.left.get(member.id) ?? now) > now || item.excludes(member.id, now)) return false
  const { sending, handedOut, capacity, busyUntil } = member.node
  if (busyUntil > now) return false
  if (item.kind === 'manifest') return true
  return sending + handedOut < capacity && member.load + FULL_SHARE <= treeChildren * FULL_SHARE
}

function compare(a: Candidate, b: Candidate): number {
  return (
    a.grade - b.grade ||
    a.cost - b.cost ||
    (a.member.complete && b.member.complete ? a.member.load - b.member.load : b.member.position - a.member.position) ||
    a.member.node.sending + a.member.node.handedOut - (b.member.node.sending + b.member.node.handedOut)
  )
}
