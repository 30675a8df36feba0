import type { Peer } from '../overlay/overlay.ts'
import { MAX_REPORT_ENTRIES, type ReportAnswer, type ReportEntry } from './messages.ts'
import type { Participation } from './participation.ts'

/** An entry on its way to a coordinator. */
export interface Parcel {
  readonly entry: ReportEntry
  readonly participation: Participation
  /** The participation's when the entry was written. */
  readonly generation: number
  /** The number of coordinators that get the entry. */
  readonly copies: number
  /** How often it is still sent elsewhere if it does not arrive. */
  readonly retries: number
}

export interface OutboxOptions {
  /** How long entries are gathered, in milliseconds. */
  readonly delay: number
  send(peer: Peer, entries: readonly ReportEntry[]): Promise<ReportAnswer>
  answered(parcel: Parcel, answer: 'ok' | 'ask'): void
  /** `began`: when they were sent, of `performance.now()`. */
  lost(parcels: readonly Parcel[], peer: Peer, error: unknown, began: number): void
}

/** Reports to one coordinator: one message at a time, so that none overtakes another, and of each item only the latest state. */
export class ReportOutbox {
  readonly #peer: Peer
  readonly #options: OutboxOptions
  #waiting: Parcel[] = []
  #places = new Map<string, number>()
  #inFlight = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined

  constructor(peer: Peer, options: OutboxOptions) {
    this.#peer = peer
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#sending === undefined
  }

  put(parcel: Parcel): void {
    const place = this.#places.get(parcel.entry.item)
    const before = place === undefined ? undefined : this.#waiting[place]
    if (place !== undefined && before?.entry.outcome === undefined) this.#waiting[place] = parcel
    else this.#places.set(parcel.entry.item, this.#waiting.push(parcel) - 1)
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.delay).unref()
  }

  /** Resolves when nothing about the item is on its way; undefined if nothing is. */
  settled(item: string): Promise<void> | undefined {
    return this.#places.has(item) || this.#inFlight.has(item) ? this.flush() : undefined
  }

  /** Sends all that waits. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined))
    return this.#sending
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#places.clear()
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const parcels = this.#waiting.slice(0, MAX_REPORT_ENTRIES)
      this.#waiting = this.#waiting.slice(MAX_REPORT_ENTRIES)
      this.#places = new Map(this.#waiting.map((parcel, place) => [parcel.entry.item, place]))
      this.#inFlight = new Set(parcels.map((parcel) => parcel.entry.item))
      const began = performance.now()
      try {
        const entries = parcels.map((parcel) => parcel.entry)
        const answers = await this.#options.send(this.#peer, entries)
        for (const [place, parcel] of parcels.entries()) this.#options.answered(parcel, answers[place] ?? 'ok')
      } catch (error) {
        this.#options.lost(parcels, this.#peer, error, began)
      }
    }
    this.#inFlight.clear()
    this.#timer = undefined
  }
}
