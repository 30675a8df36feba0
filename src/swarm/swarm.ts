import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Repository } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'

/** Who fetches what right now, so that one node goes upstream and the others follow. A hint like every claim: wrong answers cost a request. */
export interface Swarm {
  /** Takes part in the fetching of one thing. Cheap; nothing is sent before the first question. */
  enter(item: SwarmItem): Membership
  /** Finds out early who coordinates these, so that the first question is one round trip. Returns at once. */
  prepare(items: Iterable<SwarmItem>): void
}

/** What is fetched: under whose name, for its rights differ, and what. */
export interface SwarmItem {
  readonly repository: Repository
  readonly content:
    | { readonly kind: 'blob' | 'manifest'; readonly digest: Digest }
    | { readonly kind: 'tag'; readonly tag: string }
}

/** One transfer of this node. Transfers of the same thing share what the others are told. */
export interface Membership {
  /** Where to go on from a byte. Never rejects but for the signal. The answer is `alone` if no coordinator answers for 6 s, or one asks for patience for 7 s. */
  ask(question: SwarmQuestion, options: { signal: AbortSignal }): Promise<Direction>
  /** All bytes before `position` have arrived. Reported about once a second. */
  progress(position: number): void
  /** Calls back when the coordinator wants this transfer to ask again: its lease is lost, or there is a better source. One listener. */
  onRecall(listener: () => void): void
  /** The transfer is over; the others are told. Safe to call more than once, the first time counts. */
  leave(outcome: SwarmOutcome): void
}

export interface SwarmQuestion {
  /** The first byte that is missing; 0 for manifests and tags. */
  readonly position: number
  /** Of the whole blob in bytes, if known. */
  readonly size: number | undefined
  /** Whether others can read this node's copy while it grows. */
  readonly serves: boolean
  /** The sources that this transfer has left since its last question. */
  readonly left: readonly LeftSource[]
}

/**
 * Why a source was left: `broken` off, `stalled`, `busy` (well, and has enough to do), `refused` (would not give it under this name),
 * `absent` (does not hold it), `wrong` (sent wrong bytes).
 */
export interface LeftSource {
  /** The peer's id. */
  readonly id: string
  readonly reason: 'broken' | 'stalled' | 'busy' | 'refused' | 'absent' | 'wrong'
}

export type Direction =
  /** From these, best first. Several only if all are complete: they may be read at the same time. */
  | { readonly type: 'follow'; readonly sources: readonly SwarmSource[] }
  /** This node fetches it from the upstream, for all. */
  | { readonly type: 'upstream' }
  /** A tag's shared answer. */
  | { readonly type: 'known'; readonly value: SharedTag }
  /** A node went upstream a moment ago and was refused: this one itself if `isOwn`. */
  | { readonly type: 'failed'; readonly failure: SharedFailure; readonly isOwn: boolean }
  /** Nobody coordinates: find holders by the index, then go upstream. */
  | { readonly type: 'alone' }

export interface SwarmSource {
  readonly peer: Peer
  /** It holds the whole blob; else it is getting it. */
  readonly complete: boolean
  /** How many nodes are between it and the upstream or a complete holder. */
  readonly level: number
}

export interface SharedTag {
  readonly descriptor: Descriptor
  /** The upstream's `Date`, milliseconds since the epoch. */
  readonly date: number
  /** True if it was had without credentials. */
  readonly anonymous: boolean
}

export interface SharedFailure {
  /** The upstream does not have it; else it could not be asked or refused. */
  readonly absent: boolean
  /** For the client and the pod's event. No secrets. */
  readonly message: string
  /** Whose quota is used up, if that is why: the upstream may still give it to a node that it counts as somebody else. */
  readonly source?: string | undefined
}

export type SwarmOutcome =
  /** Whole. The node goes on to be a source for as long as its content store confirms it. */
  | { readonly type: 'complete' }
  /** A tag's answer, to be shared. */
  | { readonly type: 'resolved'; readonly value: SharedTag }
  /** The client went, or the bytes broke off: somebody else takes the lease over. */
  | { readonly type: 'cancelled' }
  /** The upstream refused: everybody is told for a moment. */
  | { readonly type: 'failed'; readonly failure: SharedFailure }
  /** What arrived is suspect: these senders are not handed out for it any more. */
  | { readonly type: 'suspect'; readonly senders: readonly string[] }
