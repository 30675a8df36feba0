import type { IndexKey, Peer } from '../overlay/overlay.ts'

/** What a member says about itself to one other member, which knows the sender by its proof. */
export type Announcement = Claims | Leaving

/**
 * One step of a stream from one peer to another. A receiver that has not seen exactly `after` of this epoch answers
 * `resync`, unless the step is `full`: that one begins the stream anew.
 */
export interface Claims {
  readonly type: 'claims'
  /** Random, one for each process. */
  readonly epoch: string
  /** Grows from message to message within an epoch; one at or below the last applied is a repetition. */
  readonly seq: number
  /** The `seq` of the step before this one. */
  readonly after: number
  readonly full: boolean
  /** Further steps follow at once: what the receiver knows is not complete yet. */
  readonly more: boolean
  /** Whether the stream carries all that the peer holds, or only the keys that belong to the receiver. */
  readonly scope: 'all' | 'placed'
  /** Milliseconds after which the claims are void unless the peer is heard of again. */
  readonly ttl: number
  readonly add: readonly IndexKey[]
  readonly remove: readonly IndexKey[]
}

/** The sender stops: nothing it claimed in this epoch holds any longer. */
export interface Leaving {
  readonly type: 'leaving'
  readonly epoch: string
}

export type AnnounceResult = { readonly type: 'ok' } | { readonly type: 'resync' }

/** For each key asked for, in the same order, peers that are said to hold it. */
export type LookupResult = readonly (readonly Peer[])[]

export const MAX_ANNOUNCED_KEYS = 8_192
export const MAX_LOOKUP_KEYS = 256
export const MAX_PROVIDERS_PER_KEY = 32
