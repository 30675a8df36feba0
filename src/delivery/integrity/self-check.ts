import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'

import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import type { ContentStore, OpenBlob } from '../../store/content-store.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { withDeadline } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { Quarantine } from './quarantine.ts'

export interface SelfCheckOptions {
  readonly store: Pick<ContentStore, 'open' | 'subscribe'>
  readonly quarantine: Pick<Quarantine, 'add'>
  /** Drops a damaged blob, where Nabo fills the store itself. */
  readonly discard: ((digest: Digest) => Promise<void>) | undefined
  readonly log: Pick<Log, 'info' | 'warn'>
}

/** A blob is read again no sooner, however many ask for it. */
const PAUSE = 10 * minute
const MAX_REMEMBERED = 10_000
/** More than the layers of an image; peers repeat requests beyond it later. */
const MAX_WAITING = 256
const CHUNK = 1024 * 1024
/** A disk that takes longer for one chunk is another trouble than wrong bytes. */
const READ_TIMEOUT = 30 * second

/**
 * Hashes stored blobs that somebody suspects, one at a time and with half of one core at most, and puts those that are damaged
 * into quarantine.
 */
export class SelfCheck {
  readonly #options: SelfCheckOptions
  /** When the last check of each blob was requested, in milliseconds. */
  readonly #requestedAt = new LRUCache<Digest, number>(atMost(MAX_REMEMBERED))
  readonly #waiting: Digest[] = []
  readonly #stopping = new AbortController()
  readonly #unsubscribe: () => void
  /** The one that is read now. */
  #current: Digest | undefined
  #changedMeanwhile = false
  #running: Promise<void> = Promise.resolve()

  constructor(options: SelfCheckOptions) {
    this.#options = options
    this.#unsubscribe = options.store.subscribe(({ entry }) => {
      if (entry.type === 'blob' && entry.digest === this.#current) this.#changedMeanwhile = true
    })
  }

  /** Returns at once; true if the blob will be checked, should it be held here. */
  request(digest: Digest): boolean {
    const requestedAt = this.#requestedAt.get(digest)
    if (requestedAt !== undefined && performance.now() - requestedAt < PAUSE) return false
    if (this.#waiting.length >= MAX_WAITING || this.#stopping.signal.aborted) return false
    this.#requestedAt.set(digest, performance.now())
    this.#waiting.push(digest)
    if (this.#waiting.length === 1 && this.#current === undefined) this.#running = this.#run()
    return true
  }

  /** Drops the checks that wait. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#unsubscribe()
    this.#waiting.length = 0
    await this.#running
  }

  async #run(): Promise<void> {
    for (let digest = this.#waiting.shift(); digest !== undefined; digest = this.#waiting.shift()) {
      this.#current = digest
      this.#changedMeanwhile = false
      await this.#check(digest).catch((error: unknown) => {
        if (!this.#stopping.signal.aborted)
          this.#options.log.warn({ digest, err: errorText(error) }, 'a stored blob could not be checked')
      })
      this.#current = undefined
    }
  }

  async #check(digest: Digest): Promise<void> {
    const { store, quarantine, discard, log } = this.#options
    const blob = await store.open(digest, { signal: this.#stopping.signal })
    // A repeated check of an absent blob costs nothing, and the blob may be held then.
    if (blob === undefined) return void this.#requestedAt.delete(digest)
    let right: boolean
    try {
      right = await this.#matches(blob, digest)
    } finally {
      await blob.close()
    }
    // What was read may have been replaced since.
    if (this.#changedMeanwhile) return
    if (right) return log.info({ digest, bytes: blob.size }, 'a stored blob that another node suspected is right')
    quarantine.add(digest)
    await discard?.(digest)
  }

  async #matches(blob: OpenBlob, digest: Digest): Promise<boolean> {
    const { signal } = this.#stopping
    const hash = createHash(digestAlgorithm(digest))
    const chunk = Buffer.allocUnsafe(CHUNK)
    for (let position = 0; position < blob.size;) {
      const began = performance.now()
      const at = position
      const count = await withDeadline(READ_TIMEOUT, 'reading a stored blob', signal, () => blob.read(chunk, at))
      if (count === 0) return false
      hash.update(chunk.subarray(0, count))
      position += count
      // Pause as long as the work took: serving comes first.
      await pause(performance.now() - began, undefined, { signal })
    }
    return hash.digest('hex') === digestHex(digest)
  }
}
