import { minute, second } from '../time/units.ts'

/** What a swarm table keeps at most, and for how long. Durations in milliseconds. */
export interface SwarmLimits {
  readonly maxItems: number
  /**
   * Items that are remembered because of the nodes behind one address, and transfers of these nodes in all items: so one host cannot fill the
   * table, whatever ids it invents.
   */
  readonly maxItemsPerAddress: number
  readonly maxMembersPerAddress: number
  /** Of all items together; who comes then is given a source but not remembered. */
  readonly maxMembers: number
  /** Longer chains are built only when there is no other source. */
  readonly maxDepth: number
  /**
   * What a second child costs, in levels of depth; a third costs twice as much more. A second child halves the rate of all below where the nodes' links are what is
   * slow; a level more costs about a MiB of delay. The simulation tells what comes of it.
   */
  readonly childCost: number
}

export const DEFAULT_LIMITS: SwarmLimits = {
  maxItems: 10_000,
  // Far above what a host fetches at a time: containerd fetches three layers of an image. Many nodes may share an address (NAT, labs).
  maxItemsPerAddress: 2_500,
  maxMembersPerAddress: 5_000,
  maxMembers: 20_000,
  maxDepth: 16,
  childCost: 8,
}

/** Reports come every second: this many without one and the lease is anybody's. A frozen node is noticed by the overlay in 4 to 6 s as well. */
export const LEASE_TTL = 6 * second
/** A holder that gets no byte for so long is no better than a dead one. */
export const LEASE_STAGNATION = 5 * second
/** Registries take their time before the first byte. */
export const LEASE_FIRST_BYTE = 10 * second
/** A holder that missed a report is given up if a follower complains as well, or somebody else has a lease too. */
export const LEASE_SILENCE = 1.5 * second
/** A lease that was granted is missing in the reports that were on their way. */
export const GRANT_IN_FLIGHT = 1.5 * second
export const MEMBER_TTL = 7 * second
/** By then the provider index has the claim of who became complete. */
export const COMPLETE_TTL = 15 * second
export const FAILURE_TTL = 3 * second
export const TAG_TTL = 15 * second
/** How long a source stays bad for the member that left it. */
export const LEFT_TTL = 30 * second
/** How long a member waits for a source that sends nothing and is alive, if there is no other one but the upstream. */
export const SLOW_PATIENCE = 15 * second
/**
 * Bytes that a member has to get before its complaints of silent sources are forgotten. After a single byte a source that gives one after each
 * request could be silent for ever.
 */
export const SLOW_FORGIVEN = 4 * 1024 * 1024
/** A source that is only starting, or has enough to do, is worth another try soon. */
export const BUSY_TTL = 1 * second
/** A source of wrong bytes is bad for everybody. */
export const WRONG_TTL = 10 * minute
/** One that no longer holds what it claimed has withdrawn by then; it may soon hold it again. */
export const ABSENT_TTL = 5 * second
/** Bounds of what one peer can make another remember. */
export const MAX_LEFT = 64
export const MAX_EXCLUDED = 256
/** Far above the 2^40 of nodes that go alone, and 2^52 grants below the last exact integer. */
export const MAX_CLAIMED_EPOCH = 2 ** 52
/** A more advanced member that asked so recently goes upstream first. */
export const ASKED_RECENTLY = 300
/** What a waiting member does not hammer and does not feel. */
export const WAIT_MIN = 100
export const WAIT_MAX = 250
/** So many members are compared for one answer: enough to find a good one among ten thousand. */
export const SAMPLE = 64
/** Complete holders that are read at the same time. */
export const MAX_SOURCES = 4
