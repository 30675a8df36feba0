import type { IndexKey, Peer } from '../overlay/overlay.ts'
import type { LeftSource, SharedFailure, SharedTag, SwarmOutcome, SwarmSource } from './swarm.ts'

/** What a member says about itself with every message. Its id and address come from its proof. */
export interface MemberLoad {
  readonly zone: string | undefined
  /** Transfers that its peer listener serves now, and how many it would. */
  readonly sending: number
  readonly capacity: number
}

export interface Member extends Peer, MemberLoad {
  /** The IP address of the connection that its message came by, empty for this node: what it makes a coordinator remember is counted by it. */
  readonly remoteAddress: string
}

/** Signature of a member over its own request: the coordinator that gets the request may forward it, and cannot invent one. */
export interface JoinSignature {
  /** Random, one for each process of the member. */
  readonly session: string
  /** Grows with each request of that process. */
  readonly sequence: number
  /** Ed25519, in base64url. */
  readonly signature: string
}

/** The right to go upstream. When two meet the lower rank wins, then the lower epoch. */
export interface Lease {
  readonly epoch: number
  /** Of the index node that granted it: 0 is the closest to the key. `SELF_RANK` if its holder went alone. */
  readonly rank: number
}

export interface JoinRequest {
  readonly type: 'join'
  readonly member: Member
  /** Where the item is kept, and the item itself: its repository and digest or tag. */
  readonly key: IndexKey
  readonly item: string
  readonly kind: 'blob' | 'manifest' | 'tag'
  readonly position: number
  readonly size: number | undefined
  readonly serves: boolean
  readonly left: readonly LeftSource[]
  /** The lease that the member holds already. */
  readonly lease: Lease | undefined
  /** How the member's own upstream transfers went lately, in bytes a second; undefined if it does not know. */
  readonly upstreamRate: number | undefined
  /** True if a node of a higher rank passed it on: it is not passed on again. */
  readonly forwarded: boolean
  /** Present on the request of another node. */
  readonly signed?: JoinSignature | undefined
}

/** A {@link JoinRequest} as it travels. `onBehalfOf` is the member if the sender forwards its request; else the sender is the member. */
export interface JoinMessage extends Omit<JoinRequest, 'member' | 'forwarded'> {
  readonly member: MemberLoad
  readonly onBehalfOf?: Peer | undefined
}

export type JoinAnswer =
  | { readonly type: 'follow'; readonly sources: readonly SwarmSource[] }
  | { readonly type: 'upstream'; readonly lease: Lease }
  | { readonly type: 'known'; readonly value: SharedTag }
  | { readonly type: 'failed'; readonly failure: SharedFailure }
  /** Nothing to say yet: ask again after so many milliseconds. */
  | { readonly type: 'wait'; readonly ms: number }

/** What a member says about one of its transfers, unasked. */
export interface ReportEntry {
  readonly key: IndexKey
  readonly item: string
  readonly kind: JoinRequest['kind']
  readonly position: number
  readonly size: number | undefined
  readonly serves: boolean
  readonly lease: Lease | undefined
  /** The peer that it follows, if one. */
  readonly parent: string | undefined
  readonly upstreamRate: number | undefined
  /** Present if the transfer is over. */
  readonly outcome: SwarmOutcome | undefined
}

export interface ReportRequest {
  readonly type: 'report'
  readonly member: Member
  readonly entries: readonly ReportEntry[]
}

/** A {@link ReportRequest} as it travels: the sender is the member. */
export interface ReportMessage extends Omit<ReportRequest, 'member'> {
  readonly member: MemberLoad
}

/** For each entry, in their order: go on, or ask again because there is something better to do. */
export type ReportAnswer = readonly ('ok' | 'ask')[]

/** The rank of a lease that a node gave itself because no coordinator answered. */
export const SELF_RANK = 9

/** Entries of one report at most. */
export const MAX_REPORT_ENTRIES = 256
