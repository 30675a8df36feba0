import { FAILURE_TTL, TAG_TTL, WRONG_TTL } from './limits.ts'
import type { ItemState } from './item.ts'
import { liveLease } from './leases.ts'
import type { MemberState } from './member.ts'
import type { ReportEntry } from './messages.ts'
import type { NodeState } from './node.ts'
import type { SwarmState } from './state.ts'
import type { SwarmOutcome } from './swarm.ts'

/** A member's transfer is over. What it says about the item is kept though nobody here knew the member. */
export function leaveItem(
  state: SwarmState,
  node: NodeState,
  entry: ReportEntry,
  outcome: SwarmOutcome,
  now: number,
): void {
  const item = state.item(entry.item, entry.kind)
  const member = item.members.get(node.peer.id)
  switch (outcome.type) {
    case 'complete':
      if (entry.kind !== 'tag' && entry.serves) finish(state, item, member ?? state.member(item, node, now), now)
      else if (member) state.remove(item, member)
      return
    case 'resolved':
      // Only the lease holder was told to ask the registry.
      if (member !== undefined && item.lease?.holder === member) item.share(outcome.value, now + TAG_TTL)
      break
    case 'failed':
      // One node's credentials may do what another's don't: while somebody gets on, nobody is told.
      if (othersGetOn(item, member, now)) break
      item.fail(outcome.failure, now + FAILURE_TTL)
      break
    case 'suspect':
      for (const id of outcome.senders) item.exclude(id, now + WRONG_TTL)
      for (const child of member?.children ?? []) child.recalled = true
      break
    case 'cancelled':
      break
  }
  state.keep(item, node.remoteAddress)
  if (member) state.remove(item, member)
}

/** What it holds now it gives to others; the ones below it notice nothing. */
function finish(state: SwarmState, item: ItemState, member: MemberState, now: number): void {
  if (!state.enter(item, member)) return
  member.detach()
  if (item.lease?.holder === member) item.lease = undefined
  member.complete = true
  member.seenAt = now
}

function othersGetOn(item: ItemState, member: MemberState | undefined, now: number): boolean {
  const held = liveLease(item, now)
  return held !== undefined && held.holder !== member
}
