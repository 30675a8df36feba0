import type { ItemState } from './item.ts'
import { doubtLease } from './leases.ts'
import { ABSENT_TTL, BUSY_TTL, GRANT_IN_FLIGHT, LEFT_TTL, MAX_LEFT, SLOW_PATIENCE, WRONG_TTL } from './limits.ts'
import { FULL_SHARE, type MemberState, descendsFrom } from './member.ts'
import type { SwarmState } from './state.ts'
import type { LeftSource } from './swarm.ts'

/** Takes in why a member left its sources. Returns those whose claim to hold the item proved wrong. */
export function noteLeft(
  item: ItemState,
  member: MemberState,
  left: readonly LeftSource[],
  state: SwarmState,
  now: number,
): string[] {
  const disproved: string[] = []
  for (const [id, until] of member.left) if (until <= now) member.left.delete(id)
  for (const { id, reason } of left) {
    const source = item.members.get(id)
    if (reason === 'stalled' && item.kind === 'blob' && isPatientWith(member, id, now)) continue
    // Its growing copy cannot be seen yet.
    const early = reason === 'absent' && source?.complete === false
    const short = early || reason === 'busy'
    if (member.left.size < MAX_LEFT) member.left.set(id, now + (short ? BUSY_TTL : LEFT_TTL))
    if (reason === 'busy' && source) source.node.busyUntil = now + BUSY_TTL
    if (reason === 'broken' || reason === 'stalled') doubtLease(item, id, now)
    if (early || !(reason === 'absent' || reason === 'wrong')) continue
    item.exclude(id, now + (reason === 'wrong' ? WRONG_TTL : ABSENT_TTL))
    if (source === undefined || source.complete) disproved.push(id)
    if (source?.complete) state.remove(item, source)
  }
  return disproved
}

/**
 * A source that sends nothing may be slow or paused, or wait for its own source: it stays the last choice for a while. If it is dead, it does not
 * report and the overlay loses it, and then it is no choice.
 */
function isPatientWith(member: MemberState, id: string, now: number): boolean {
  const known = member.slow.get(id)
  if (known !== undefined) return now - known.since < SLOW_PATIENCE
  // Without an entry the patience would never end.
  if (member.slow.size >= MAX_LEFT) return false
  member.slow.set(id, { since: now, position: member.position })
  return true
}

/** A member says whom it follows: so a coordinator that is new learns the tree. What would break its rules is asked anew. */
export function adoptParent(
  item: ItemState,
  member: MemberState,
  parentId: string | undefined,
  treeChildren: number,
  now: number,
): void {
  // The report may have crossed with an answer.
  if (now - member.placedAt < GRANT_IN_FLIGHT) return
  if (parentId === undefined) return member.detach()
  const parent = item.members.get(parentId)
  if (parent === undefined) return
  const room = item.kind === 'manifest' ? Number.POSITIVE_INFINITY : treeChildren * FULL_SHARE
  if (member.parents.includes(parent)) {
    // Those that shared it with a source that is gone now take their whole copy from it.
    if (parent.load > room) member.recalled = true
    return
  }
  member.detach()
  const full = parent.load + FULL_SHARE > room
  if (full || descendsFrom(parent, member)) member.recalled = true
  else member.follow([parent])
}
