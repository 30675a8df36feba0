import type { MessageSender } from '../membership/message-sender.ts'
import type { IndexKey, Peer } from '../overlay/overlay.ts'
import type { Announcement, AnnounceResult, LookupResult } from './messages.ts'

/** Carries the index's questions to another member. Both reject when the peer cannot be reached or answers nonsense. */
export interface IndexTransport {
  announce(peer: Peer, message: Announcement, options: { signal: AbortSignal }): Promise<AnnounceResult>
  /** At most `MAX_LOOKUP_KEYS` keys; the answer is in their order. */
  lookup(peer: Peer, keys: readonly IndexKey[], options: { signal: AbortSignal }): Promise<LookupResult>
}

/** What answers other members' questions. Neither method throws: what is decoded is valid. */
export interface IndexHandler {
  handleAnnounce(message: Announcement, from: MessageSender): AnnounceResult
  handleLookup(keys: readonly IndexKey[]): LookupResult
}
