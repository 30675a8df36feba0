import { statfs } from 'node:fs/promises'

import type { Digest } from '../../oci/digest.ts'
import type { Log } from '../../telemetry/log.ts'
import { PacedWarnings } from '../../telemetry/paced-warnings.ts'
import { second } from '../../time/units.ts'
import type { Space } from './space.ts'

export interface RoomOptions {
  readonly directory: string
  readonly space: Space
  /** Bytes that blobs on their way have not written yet. */
  readonly owed: () => number
  readonly evict: (digest: Digest) => Promise<void>
  readonly log: Pick<Log, 'warn'>
}

/** How long nothing is taken in after the disk was full: trying each blob would only thrash. */
const FULL_PAUSE = 10 * second
const DISK_FULL =
  'the disk of the cache is full: blobs pass through and are not kept, so that each pull fetches them again; make room, choose another --cache-dir, or set --cache-size to what the disk can hold'
const TOO_LARGE = 'a blob is larger than --cache-size: each pull fetches it again'

/** Room for further blobs in a cache directory: within `--cache-size`, and on the disk. */
export class Room {
  readonly #options: RoomOptions
  readonly #warnings: PacedWarnings<'disk' | 'large'>
  /** Until when no blob is taken in, by `performance.now()`. */
  #fullUntil = 0

  constructor(options: RoomOptions) {
    this.#options = options
    this.#warnings = new PacedWarnings(options.log)
  }

  /** Reserves `size` bytes, evicting for them. False if that can't be done. */
  async reserve(size: number): Promise<boolean> {
    const { directory, space, owed, evict } = this.#options
    if (performance.now() < this.#fullUntil) return false
    const cacheSize = space.maxBytes
    if (size > cacheSize) {
      this.#warnings.warn('large', TOO_LARGE, () => ({ bytes: size, cacheSize }))
      return false
    }
    const stats = await statfs(directory).catch(() => undefined)
    // From here to the reservation nothing waits, so that two blobs never get the same room.
    const missing = stats === undefined ? 0 : size + owed() - stats.bavail * stats.bsize
    const victims = space.victims(size, missing)
    if (victims === undefined) {
      // If the disk has room, clients are reading the blobs that could be evicted, which soon ends without the operator.
      if (missing > 0) this.#warnOfFullDisk()
      return false
    }
    space.reserve(size)
    await Promise.all(victims.map(evict))
    return true
  }

  /** The disk was full although there seemed to be room. */
  diskWasFull(): void {
    this.#fullUntil = performance.now() + FULL_PAUSE
    this.#warnOfFullDisk()
  }

  #warnOfFullDisk(): void {
    const { directory, space } = this.#options
    this.#warnings.warn('disk', DISK_FULL, () => ({ directory, cached: space.used, cacheSize: space.maxBytes }))
  }
}
