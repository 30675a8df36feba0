import type { HeldLease, ItemState } from './item.ts'
import {
  ASKED_RECENTLY,
  LEASE_FIRST_BYTE,
  LEASE_SILENCE,
  LEASE_STAGNATION,
  LEASE_TTL,
  MAX_CLAIMED_EPOCH,
} from './limits.ts'
import type { MemberState } from './member.ts'
import type { Lease } from './messages.ts'

/** The lease that binds the others: its holder reports, and bytes come. */
export function liveLease(item: ItemState, now: number): HeldLease | undefined {
  const { lease } = item
  if (lease === undefined || item.excludes(lease.holder.id, now)) return undefined
  const { holder, grantedAt } = lease
  if (now - holder.seenAt >= LEASE_TTL) return undefined
  if (item.size !== undefined && holder.position >= item.size) return lease
  const moved = holder.progressAt > grantedAt
  const alive = moved ? now - holder.progressAt < LEASE_STAGNATION : now - grantedAt < LEASE_FIRST_BYTE
  return alive ? lease : undefined
}

/** A member says that it has a lease. False if it has lost it, or loses it to a better one. `rank` is the coordinator's own. */
export function claimLease(
  item: ItemState,
  member: MemberState,
  claimed: Lease,
  { rank, now }: { readonly rank: number; readonly now: number },
): boolean {
  noteEpoch(item, claimed.epoch)
  const held = liveLease(item, now)
  if (item.lease?.holder === member || goesAlone(item, member, now)) return true
  // The holder of a tag's lease names the digest for all: that right is granted here, and not taken by a claim.
  if (held !== undefined && item.kind === 'tag') return false
  if (held !== undefined && claimed.rank < rank) {
    // Not ours to settle: who granted it may have moved the lease, and then its later word holds.
    if (claimed.rank < held.rank || claimed.epoch > held.epoch) take(item, member, claimed, now)
    return true
  }
  if (held !== undefined && !yields(item, held, member, claimed, now)) return false
  take(item, member, claimed, now)
  return true
}

/** Nobody can follow it, so its lease is its own affair. */
export function goesAlone(item: ItemState, member: MemberState, now: number): boolean {
  if (item.excludes(member.id, now)) return true
  return item.kind !== 'tag' && !member.serves && liveLease(item, now) !== undefined
}

function yields(item: ItemState, held: HeldLease, challenger: MemberState, claimed: Lease, now: number): boolean {
  const { superseded } = item
  if (superseded?.rank === claimed.rank && claimed.epoch <= superseded.epoch) return false
  if (now - held.holder.seenAt > LEASE_SILENCE || (!held.holder.serves && challenger.serves)) return true
  if (claimed.rank !== held.rank) return claimed.rank < held.rank
  if (claimed.epoch !== held.epoch) return claimed.epoch < held.epoch
  return challenger.id < held.holder.id
}

/** Gives a lease; a lease of somebody else is over with it. True if it is not the item's first holder. */
export function grantLease(item: ItemState, member: MemberState, rank: number, now: number): boolean {
  const moved = item.lastHolder !== undefined && item.lastHolder !== member.id
  if (item.lease !== undefined && item.lease.holder !== member) item.superseded = item.lease
  take(item, member, { rank, epoch: item.epoch + 1 }, now)
  return moved
}

function take(item: ItemState, member: MemberState, { rank, epoch }: Lease, now: number): void {
  member.detach()
  noteEpoch(item, epoch)
  item.lease = { rank, epoch, holder: member, grantedAt: now }
  item.lastHolder = member.id
  item.pace = undefined
  item.successor = undefined
}

/** A member may claim any epoch. Those granted after it must still be exact integers: no message carries others. */
function noteEpoch(item: ItemState, epoch: number): void {
  item.epoch = Math.max(item.epoch, Math.min(epoch, MAX_CLAIMED_EPOCH))
}

/** A follower complains about the lease holder: it counts if the holder has missed a report as well. */
export function doubtLease(item: ItemState, holderId: string, now: number): void {
  if (item.lease?.holder.id !== holderId || now - item.lease.holder.seenAt <= LEASE_SILENCE) return
  item.superseded = item.lease
  item.lease = undefined
}

/** Somebody who has asked a moment ago, and waits, is to go upstream rather than this one: it is more advanced, or can be followed. */
export function betterAsker(item: ItemState, member: MemberState, now: number): boolean {
  for (const other of item.members.values()) {
    if (other === member || other.complete || now - other.askedAt > ASKED_RECENTLY || other.parents.length > 0) continue
    if (item.excludes(other.id, now)) continue
    if (other.serves !== member.serves ? other.serves : other.position > member.position) return true
  }
  return false
}
