import { setTimeout as sleep } from 'node:timers/promises'

import type { Digest } from '../../oci/digest.ts'
import { IngestError } from '../../store/cache-store.ts'
import type { ContentStore, GrowingBlob, OpenBlob } from '../../store/content-store.ts'
import { DeadlineError, withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import type { TransferRecord } from './transfer-record.ts'
import type { Transfers } from './transfers.ts'

/**
 * Time that a transfer may take until bytes of it can be read. The client's content store has no file for it before the first bytes have passed, and the
 * transfer's own source may be slow. A follower that waits here asks the coordinator for a better source meanwhile.
 */
const START_PATIENCE = 8 * second
const START_POLL = 50
const SOURCE_POLL = 20
/** From the end of the last transfer on: what is in the client's buffers is still being written. */
const ENDED_PATIENCE = 500
/** The content store's owner fetches it in some other way, of which nothing is known but its growth. */
const UNFED_PATIENCE = 5 * second
const PATIENCE_TICK = 100

export interface Arriving {
  readonly blob: GrowingBlob
  /** The ids of the nodes that it comes through, the root first. */
  readonly path: readonly string[]
}

/** What is arriving at this node, for other nodes. */
export class GrowingDeliveries {
  readonly #store: Pick<ContentStore, 'openGrowing'>
  readonly #transfers: Pick<Transfers, 'of' | 'ranLately'>
  readonly #startPatience: number
  #followers = 0

  /** `startPatience`: how long a transfer may take until bytes of it can be read, in milliseconds. */
  constructor(
    store: Pick<ContentStore, 'openGrowing'>,
    transfers: Pick<Transfers, 'of' | 'ranLately'>,
    { startPatience = START_PATIENCE }: { startPatience?: number } = {},
  ) {
    this.#store = store
    this.#transfers = transfers
    this.#startPatience = startPatience
  }

  /** How many read what arrives at the moment. */
  get followers(): number {
    return this.#followers
  }

  /** Waits until a transfer finds its first source or ends; false if it still searches after the start patience. */
  async begun(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const until = performance.now() + this.#startPatience
    while (this.#transfers.of(digest)?.hasBegun === false) {
      if (performance.now() > until) return false
      await sleep(SOURCE_POLL, undefined, { signal })
    }
    return true
  }

  /** Opens what arrives, or will within the start patience because a transfer has begun; undefined otherwise. */
  async open(digest: Digest, signal: AbortSignal): Promise<Arriving | undefined> {
    const until = performance.now() + this.#startPatience
    for (;;) {
      const transfer = this.#transfers.of(digest)
      const blob = await this.#store.openGrowing(digest, { size: transfer?.size, signal })
      if (blob !== undefined) return { blob, path: transfer?.path ?? [] }
      if (transfer === undefined || performance.now() > until) return undefined
      await sleep(START_POLL, undefined, { signal })
    }
  }

  /** As a file whose reader waits for what has yet to come. Reads throw IngestError when nothing feeds it any more. */
  asFile(digest: Digest, blob: GrowingBlob, options: { record: TransferRecord; signal: AbortSignal }): OpenBlob {
    const { record, signal } = options
    const patience = new Patience(digest, this.#transfers)
    let open = true
    this.#followers += 1
    return {
      size: blob.size,
      fd: undefined,
      read: async (target, position) => {
        await reached(blob, position, patience, signal)
        const count = await blob.read(target, position, { signal })
        record.add('local', undefined, count)
        return count
      },
      close: async () => {
        if (open) this.#followers -= 1
        open = false
        await blob.close()
      },
    }
  }
}

/** Waits for a byte while there is hope for it. */
async function reached(blob: GrowingBlob, position: number, patience: Patience, signal: AbortSignal): Promise<void> {
  const probe = new Uint8Array(1)
  while (position >= blob.written && position < blob.size) {
    patience.check(blob)
    try {
      // Into a buffer of its own: what is given up may still write into it.
      await withDeadline(PATIENCE_TICK, 'waiting for a byte', signal, (signal) =>
        blob.read(probe, position, { signal }),
      )
      return
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof DeadlineError)) throw error
    }
  }
}

/** How long one follower waits for growth. */
class Patience {
  readonly #digest: Digest
  readonly #transfers: Pick<Transfers, 'of' | 'ranLately'>
  #wasFed = false
  #written = -1
  /** Milliseconds without growth. A pause of this process counts as one tick: what happened meanwhile has not been seen yet. */
  #still = 0
  #checkedAt = 0

  constructor(digest: Digest, transfers: Pick<Transfers, 'of' | 'ranLately'>) {
    this.#digest = digest
    this.#transfers = transfers
  }

  check({ written, size }: GrowingBlob): void {
    const now = performance.now()
    const isFed = this.#transfers.of(this.#digest) !== undefined
    this.#wasFed ||= isFed || this.#transfers.ranLately(this.#digest)
    if (isFed || written !== this.#written) this.#still = 0
    else this.#still += Math.min(now - this.#checkedAt, 2 * PATIENCE_TICK)
    this.#checkedAt = now
    this.#written = written
    // A store may hold the last byte back until the whole has proved right.
    const isArriving = written < size - 1
    if (this.#still < (this.#wasFed && isArriving ? ENDED_PATIENCE : UNFED_PATIENCE)) return
    throw new IngestError('aborted', 'nothing feeds it any more')
  }
}
