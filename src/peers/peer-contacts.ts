import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { errorText } from '../telemetry/log.ts'

const MAX_PEERS = 10_000

/** How the last request to each peer ended: why it failed, if it did. */
export class PeerContacts {
  /** By id. */
  readonly #failures = new LRUCache<string, string>(atMost(MAX_PEERS))

  succeeded(id: string): void {
    this.#failures.delete(id)
  }

  failed(id: string, error: Error): void {
    this.#failures.set(id, errorText(error))
  }

  /** One sentence; undefined if the last request to the peer was answered, or none was sent. */
  failureOf(id: string): string | undefined {
    return this.#failures.get(id)
  }
}
