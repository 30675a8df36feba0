import { setImmediate } from 'node:timers/promises'

import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { abortable, withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'

/** Keys that are placed before other work gets its turn: a millisecond or two, and as many queries at once at most. */
const SLICE = 32

/** A query through the overlay may take some round trips. */
const SLICE_DEADLINE = 10 * second

/** After a slice in which no key could be placed. */
const PAUSE = 1 * second

/** Finds out, key after key in the background, which peers keep it. */
export class KeyPlacement {
  readonly #overlay: Overlay
  readonly #replicas: number
  readonly #onPlaced: (key: IndexKey, peers: readonly Peer[]) => void
  readonly #queue = new Set<IndexKey>()
  readonly #closed = new AbortController()
  #running: Promise<void> | undefined

  /** `onPlaced` gets the peers without this node. */
  constructor(overlay: Overlay, replicas: number, onPlaced: (key: IndexKey, peers: readonly Peer[]) => void) {
    this.#overlay = overlay
    this.#replicas = replicas
    this.#onPlaced = onPlaced
  }

  place(keys: Iterable<IndexKey>): void {
    for (const key of keys) this.#queue.add(key)
    if (this.#queue.size === 0 || this.#closed.signal.aborted) return
    this.#running ??= this.#run()
  }

  forget(key: IndexKey): void {
    this.#queue.delete(key)
  }

  /** Waits until all keys asked for so far are placed, or this is closed. */
  async settled(): Promise<void> {
    await this.#running
  }

  close(): void {
    this.#closed.abort(new Error('the placement is closed'))
    this.#queue.clear()
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed
    try {
      while (this.#queue.size > 0 && !signal.aborted) {
        const placed = await this.#placeSlice(this.#take(), signal)
        if (!placed.includes(true)) await pause(PAUSE, signal)
        await setImmediate()
      }
    } finally {
      // In the same turn as the last look at the queue: a key that comes now starts the next run.
      this.#running = undefined
    }
  }

  async #placeSlice(slice: readonly IndexKey[], signal: AbortSignal): Promise<readonly boolean[]> {
    try {
      return await withDeadline(SLICE_DEADLINE, 'placing keys', signal, (inner) =>
        Promise.all(slice.map((key) => this.#placeOne(key, inner))),
      )
    } catch {
      return []
    }
  }

  #take(): IndexKey[] {
    const slice: IndexKey[] = []
    for (const key of this.#queue) {
      if (slice.length >= SLICE) break
      slice.push(key)
    }
    for (const key of slice) this.#queue.delete(key)
    return slice
  }

  async #placeOne(key: IndexKey, signal: AbortSignal): Promise<boolean> {
    try {
      const closest = await abortable(this.#overlay.closest(key, this.#replicas, { signal }), signal)
      if (this.#closed.signal.aborted) return false
      this.#onPlaced(
        key,
        closest.filter((peer) => peer.id !== this.#overlay.self.id),
      )
      return true
    } catch {
      if (!this.#closed.signal.aborted) this.#queue.add(key)
      return false
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms).unref()
  await abortable(promise, signal).catch(() => clearTimeout(timer))
}
