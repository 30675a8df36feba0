import { randomBytes } from 'node:crypto'

import type { IndexKey, Overlay, OverlayEvent } from '../overlay/overlay.ts'
import type { AnnouncementCounters, FeedContext } from './announcement-feed.ts'
import type { Distribution } from './distribution.ts'
import { FullDistribution } from './full-distribution.ts'
import type { IndexOptions } from './index-options.ts'
import type { IndexTransport } from './index-transport.ts'
import { Journal } from './journal.ts'
import type { PeerHealth } from './peer-health.ts'
import { PlacedDistribution } from './placed-distribution.ts'

/** A cluster that shrinks goes back to full replication only here, so that one node that comes and goes changes nothing. */
const HYSTERESIS = 0.8

/** Tells the others what this node holds: everything to everybody while the cluster is small, else to the closest. */
export class Announcer {
  readonly #overlay: Overlay
  readonly #options: IndexOptions
  readonly #context: FeedContext
  readonly #own = new Journal()
  readonly #counters: AnnouncementCounters = { sent: 0, failed: 0, resyncs: 0 }
  #current: Distribution | undefined
  /** Takes over from the current one when it has placed all keys. */
  #next: PlacedDistribution | undefined

  constructor(overlay: Overlay, transport: IndexTransport, options: IndexOptions, health: PeerHealth) {
    this.#overlay = overlay
    this.#options = options
    let seq = 0
    this.#context = {
      epoch: randomBytes(8).toString('hex'),
      transport,
      options,
      health,
      counters: this.#counters,
      nextSeq: () => ++seq,
    }
  }

  /** The keys that this node claims. */
  get own(): { readonly size: number; has(key: IndexKey): boolean } {
    return this.#own
  }

  /** Whether everybody is meant to know everything. */
  get scope(): Distribution['scope'] {
    return this.#next?.scope ?? this.#current?.scope ?? 'all'
  }

  get counters(): Readonly<AnnouncementCounters> {
    return this.#counters
  }

  progress(): { readonly peers: number; readonly inSync: number } {
    return this.#current?.progress() ?? { peers: 0, inSync: 0 }
  }

  isInSync(peerId: string): boolean | undefined {
    return this.#current?.isInSync(peerId)
  }

  start(): void {
    const peers = this.#overlay.peers()
    const isSmall = peers.length < this.#options.replicateAll
    this.#current = new FullDistribution(this.#own, isSmall ? peers : [], this.#context)
    this.#adapt()
  }

  announce(keys: Iterable<IndexKey>): void {
    const added = [...keys].filter((key) => this.#own.add(key))
    if (added.length === 0) return
    this.#current?.added(added)
    this.#next?.added(added)
  }

  withdraw(keys: Iterable<IndexKey>): void {
    const removed = [...keys].filter((key) => this.#own.remove(key))
    if (removed.length === 0) return
    this.#current?.removed(removed)
    this.#next?.removed(removed)
  }

  membership(event: OverlayEvent): void {
    this.#current?.[event.type](event.peer)
    this.#next?.[event.type](event.peer)
    this.#adapt()
  }

  async stop(options: { signal: AbortSignal }): Promise<void> {
    const current = this.#current
    this.#current = undefined
    this.#next?.close()
    this.#next = undefined
    await current?.leave(options)
  }

  #adapt(): void {
    const members = this.#overlay.peers().length + 1
    const { replicateAll } = this.#options
    if (members > replicateAll) this.#placeKeys()
    else if (members <= replicateAll * HYSTERESIS) this.#replicateAll()
  }

  #replicateAll(): void {
    this.#next?.close()
    this.#next = undefined
    if (this.#current === undefined || this.#current.scope === 'all') return
    this.#current.close()
    this.#current = new FullDistribution(this.#own, this.#overlay.peers(), this.#context)
  }

  #placeKeys(): void {
    if (this.#current === undefined || this.scope === 'placed') return
    const next = new PlacedDistribution(this.#own, this.#overlay, this.#context)
    this.#next = next
    void next.open().then(() => {
      if (this.#next !== next) return
      this.#current?.close()
      this.#current = next
      this.#next = undefined
    })
  }
}
