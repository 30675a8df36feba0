import { second } from '../time/units.ts'
import type { Rules } from './choose-sources.ts'
import { fasterSource } from './faster-source.ts'
import type { ItemState } from './item.ts'
import { type MemberState, pathOf } from './member.ts'

/** A rate over less says more about the buffers in between than about the upstream. */
const PACE_WINDOW = 3 * second
const MOVE_INTERVAL = 30 * second
/** A move costs the bytes that are on their way to the old holder: what is left must take so long that this is little. */
const MIN_REST = 15 * second
/** A follower that is further behind is slow itself: it would not be faster upstream. */
const MAX_BEHIND = 2 * second
/** The successor reports and asks within a good second. */
const SUCCESSION = 3 * second
const LAG = 16 * 1024 * 1024
/** Doubled each time: if the member's own link is what is slow, no other source helps. */
const RECALL_INTERVAL = 3 * second

/** The lease holder has reported. If one of its followers could fetch at twice its rate, that one is to take the lease over. */
export function reviewPace(item: ItemState, holder: MemberState, now: number): void {
  item.pace ??= { at: now, position: holder.position }
  const { at, position } = item.pace
  if (now - at < PACE_WINDOW || (item.size !== undefined && holder.position >= item.size)) return
  item.pace = { at: now, position: holder.position }
  if (now - item.movedAt < MOVE_INTERVAL) return
  const rate = ((holder.position - position) / (now - at)) * second
  if (item.size !== undefined && item.size - holder.position < (rate / second) * MIN_REST) return
  const best = fastestFollower(item, holder, now)
  if (best?.upstreamRate === undefined || rate >= best.upstreamRate / 2) return
  if (holder.position - best.estimate(now) > (rate / second) * MAX_BEHIND) return
  item.movedAt = now
  item.successor = { value: best.id, until: now + SUCCESSION }
}

function fastestFollower(item: ItemState, holder: MemberState, now: number): MemberState | undefined {
  let best: MemberState | undefined
  for (const member of item.members.values()) {
    if (!member.serves || member.complete || member === holder || item.excludes(member.id, now)) continue
    if ((member.upstreamRate ?? 0) > (best?.upstreamRate ?? 0) && pathOf(member).root === holder) best = member
  }
  return best
}

/** Whether the lease is waiting for this member. */
export function succeeds(item: ItemState, member: MemberState, now: number): boolean {
  const { successor, lease } = item
  return successor?.value === member.id && successor.until > now && lease?.holder.complete === false
}

/** A follower has reported. True if it is to ask for a better source. */
export function shouldAskAgain(item: ItemState, member: MemberState, rules: Rules): boolean {
  const { now } = rules
  if (succeeds(item, member, now)) return true
  if (fallsBack(item, member) && now - member.searchedAt >= RECALL_INTERVAL * 2 ** member.moves) {
    member.searchedAt = now
    member.better = fasterSource(item, member, rules)
    if (member.better !== undefined) member.moves++
    member.recalled ||= member.better !== undefined
  }
  if (!member.recalled || now - member.recalledAt < RECALL_INTERVAL) return false
  member.recalled = false
  member.recalledAt = now
  return true
}

/** It is behind the others, and more so than when it reported last, twice in a row. */
function fallsBack(item: ItemState, member: MemberState): boolean {
  if (item.kind !== 'blob' || member.parents.length === 0) return false
  item.front = Math.max(item.front, member.position, item.lease?.holder.position ?? 0)
  const lag = item.front - member.position
  member.lagGrew = lag > LAG && lag > member.lag ? member.lagGrew + 1 : 0
  member.lag = lag
  return member.lagGrew >= 2
}
