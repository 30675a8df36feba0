import type { IndexKey, Peer } from '../overlay/overlay.ts'
import { abortable, withDeadline } from '../time/deadline.ts'
import type { IndexTransport } from './index-transport.ts'
import { type LookupResult, MAX_LOOKUP_KEYS } from './messages.ts'
import type { PeerHealth } from './peer-health.ts'

interface Batch {
  /** The keys to ask for, and their places in the answer. */
  readonly places: Map<IndexKey, number>
  readonly answer: Promise<LookupResult>
}

/**
 * Asks peers who holds what. Questions to one peer that come at the same moment, a manifest's layers say, go as one. What
 * nobody waits for any longer is not taken back: that would cost its connection, and a frozen peer would go unnoticed.
 */
export class LookupBatcher {
  readonly #transport: IndexTransport
  readonly #health: PeerHealth
  readonly #gathering = new Map<string, Batch>()
  readonly #closed = new AbortController()

  constructor(transport: IndexTransport, health: PeerHealth) {
    this.#transport = transport
    this.#health = health
  }

  /** `deadline` is in milliseconds. Rejects when the peer cannot be asked or the signal fires. */
  async ask(peer: Peer, key: IndexKey, options: { deadline: number; signal: AbortSignal }): Promise<readonly Peer[]> {
    options.signal.throwIfAborted()
    const batch = this.#batchWith(peer, key, options.deadline)
    const place = batch.places.get(key) ?? -1
    return (await abortable(batch.answer, options.signal))[place] ?? []
  }

  /** Takes all open questions back. */
  close(): void {
    this.#closed.abort(new Error('the index is closed'))
  }

  #batchWith(peer: Peer, key: IndexKey, deadline: number): Batch {
    const gathering = this.#gathering.get(peer.id)
    if (gathering?.places.has(key) === true) return gathering
    const hasRoom = gathering !== undefined && gathering.places.size < MAX_LOOKUP_KEYS
    const batch = hasRoom ? gathering : this.#gather(peer, deadline)
    batch.places.set(key, batch.places.size)
    return batch
  }

  #gather(peer: Peer, deadline: number): Batch {
    const { promise, resolve, reject } = Promise.withResolvers<LookupResult>()
    const batch: Batch = { places: new Map(), answer: promise }
    this.#gathering.set(peer.id, batch)
    setImmediate(() => {
      if (this.#gathering.get(peer.id) === batch) this.#gathering.delete(peer.id)
      this.#send(peer, [...batch.places.keys()], deadline).then(resolve, reject)
    })
    return batch
  }

  async #send(peer: Peer, keys: readonly IndexKey[], deadline: number): Promise<LookupResult> {
    try {
      const answer = await withDeadline(deadline, 'a lookup', this.#closed.signal, (signal) =>
        this.#transport.lookup(peer, keys, { signal }),
      )
      this.#health.recovered(peer.id)
      return answer
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#health.failed(peer.id)
      throw error
    }
  }
}
