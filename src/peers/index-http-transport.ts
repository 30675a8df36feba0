import type { IndexKey, Peer } from '../overlay/overlay.ts'
import type { IndexTransport } from '../providers/index-transport.ts'
import {
  type Announcement,
  type AnnounceResult,
  type LookupResult,
  MAX_MESSAGE_BYTES,
  decodeAnnounceResult,
  decodeLookupResult,
  encodeAnnouncement,
  encodeLookup,
} from '../providers/messages.ts'
import type { PeerClient } from './peer-client.ts'

export const ANNOUNCE_PATH = '/nabo/v1/announce'
export const LOOKUP_PATH = '/nabo/v1/lookup'

/** Carries the index's messages over the peer listeners. */
export class IndexHttpTransport implements IndexTransport {
  readonly #client: Pick<PeerClient, 'post'>

  constructor(client: Pick<PeerClient, 'post'>) {
    this.#client = client
  }

  async announce(peer: Peer, message: Announcement, options: { signal: AbortSignal }): Promise<AnnounceResult> {
    const limit = MAX_MESSAGE_BYTES.announceResult
    return decodeAnnounceResult(
      await this.#client.post(peer, ANNOUNCE_PATH, Buffer.from(encodeAnnouncement(message)), { ...options, limit }),
    )
  }

  async lookup(peer: Peer, keys: readonly IndexKey[], options: { signal: AbortSignal }): Promise<LookupResult> {
    const limit = MAX_MESSAGE_BYTES.lookupResult
    return decodeLookupResult(
      await this.#client.post(peer, LOOKUP_PATH, Buffer.from(encodeLookup(keys)), { ...options, limit }),
      keys.length,
    )
  }
}
