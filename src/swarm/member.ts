import { SLOW_FORGIVEN } from './limits.ts'
import type { NodeState } from './node.ts'

/** Units of load: a child that reads from up to four sources puts its share on each. */
export const FULL_SHARE = 12

/** Messages may follow each other at once. */
const RATE_WINDOW = 500

/** When a source was first complained of, and where the member that complained was. */
interface Complaint {
  readonly since: number
  readonly position: number
}

/** A node's transfer of one item, or its whole copy. Parents and children are the tree that bytes flow along. */
export class MemberState {
  readonly node: NodeState
  /** The address that the table counts it by. */
  enteredFor = ''
  position = 0
  /** Bytes a millisecond lately. */
  rate = 0
  serves = false
  complete = false
  upstreamRate: number | undefined
  seenAt: number
  progressAt: number
  askedAt = Number.NEGATIVE_INFINITY
  /** When it was given its source. */
  placedAt = Number.NEGATIVE_INFINITY
  /** Several only if all of them are complete. */
  parents: readonly MemberState[] = []
  readonly children = new Set<MemberState>()
  /** What the children take, in `FULL_SHARE`s. */
  load = 0
  /** Sources that are bad for this member, and until when. */
  readonly left = new Map<string, number>()
  /** Sources that are silent but alive: the last choice, until this member has got {@link SLOW_FORGIVEN} bytes more. */
  readonly slow = new Map<string, Complaint>()
  /** It is to ask again at its next report. */
  recalled = false
  recalledAt = Number.NEGATIVE_INFINITY
  /** Where it is to go when it asks again. */
  better: MemberState | undefined
  /** When a faster source was looked for. */
  searchedAt = Number.NEGATIVE_INFINITY
  /** How often it was sent elsewhere because it fell back. */
  moves = 0
  lag = 0
  lagGrew = 0
  #ratedAt: number
  #ratedPosition = 0

  constructor(node: NodeState, now: number) {
    this.node = node
    this.seenAt = now
    this.progressAt = now
    this.#ratedAt = now
  }

  get id(): string {
    return this.node.peer.id
  }

  /** Takes in where it is now. */
  advance(position: number, now: number): void {
    if (position > this.position) this.progressAt = now
    for (const [id, complaint] of this.slow) {
      if (position - complaint.position >= SLOW_FORGIVEN) this.slow.delete(id)
      // A new transfer of the item begins before the complaint of the last one.
      else if (position < complaint.position) this.slow.set(id, { ...complaint, position })
    }
    const elapsed = now - this.#ratedAt
    if (elapsed >= RATE_WINDOW) {
      this.rate = Math.max(0, position - this.#ratedPosition) / elapsed
      this.#ratedAt = now
      this.#ratedPosition = position
    }
    this.position = position
    this.seenAt = now
  }

  /** Where it should be by now: what it last said is up to a second old. */
  estimate(now: number): number {
    return this.complete ? Number.POSITIVE_INFINITY : this.position + this.rate * Math.min(now - this.seenAt, 1000)
  }

  follow(parents: readonly MemberState[]): void {
    this.detach()
    this.parents = parents
    for (const parent of parents) {
      parent.children.add(this)
      parent.load += FULL_SHARE / parents.length
    }
  }

  detach(): void {
    for (const parent of this.parents) {
      parent.children.delete(this)
      parent.load -= FULL_SHARE / this.parents.length
    }
    this.parents = []
  }

  /** Cut out of the tree: its children are to find other sources. */
  cut(): void {
    this.detach()
    for (const child of this.children) child.forget(this)
  }

  forget(parent: MemberState): void {
    this.follow(this.parents.filter((other) => other !== parent))
  }
}

/** The way up to the one without a parent. */
export function pathOf(member: MemberState): { readonly root: MemberState; readonly level: number } {
  let root = member
  let level = 0
  for (let up = root.parents[0]; up !== undefined; up = root.parents[0]) {
    root = up
    level++
  }
  return { root, level }
}

export function descendsFrom(member: MemberState, other: MemberState): boolean {
  for (let up: MemberState | undefined = member; up !== undefined; up = up.parents[0]) if (up === other) return true
  return false
}
