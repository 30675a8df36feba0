import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Repository } from '../../oci/reference.ts'
import { second } from '../../time/units.ts'

/** One fetch of a blob by this node. The fetching code keeps `size` and `path` up to date. */
export interface Transfer {
  /** Of the whole blob in bytes, once it is known. */
  size: number | undefined
  /** The ids of the nodes that its bytes come through, the root first; empty from the upstream or a complete holder. */
  path: readonly string[]
  /** The first byte that has not come yet. */
  position: number
  /** Where its bytes come from now, a peer's address or a registry; undefined while a source is looked for. */
  source: TransferSource | undefined
  /** Whether it has found its first source; bytes may have arrived since. */
  hasBegun: boolean
  /** Whether the transfer waits for an answer of another node: a direction of the coordinator, or the first bytes of a source. */
  waitsForPeers: boolean
  /** Safe to call more than once. */
  end(): void
}

export interface TransferSource {
  readonly kind: 'peer' | 'upstream'
  readonly name: string
}

/** The state of a transfer, for the admin API and `about`. */
export interface TransferView extends Readonly<Pick<Transfer, 'size' | 'position' | 'source'>> {
  readonly digest: Digest
  readonly repository: Repository | undefined
  /** Milliseconds since the epoch. */
  readonly since: number
}

/** The transfers of one blob that run now, taken together. */
export interface RunningTransfers {
  readonly size: number | undefined
  /** Every node that any of them comes through: which one feeds the content store is not known. */
  readonly path: readonly string[]
  /** False while all of them search for their first source: no bytes have arrived and no provenance is recorded. */
  readonly hasBegun: boolean
  /** Whether one of the transfers waits for an answer of another node. */
  readonly waitsForPeers: boolean
}

/** A client whose transfer broke off retries within this time. */
const LATELY = 10 * second
const MAX_REMEMBERED = 1000

/** The blobs that this node fetches now: followers are told their sources, and when a transfer ends. */
export class Transfers {
  readonly #running = new Map<Digest, Map<Transfer, Pick<TransferView, 'repository' | 'since'>>>()
  readonly #ended = new LRUCache<Digest, true>({ ...atMost(MAX_REMEMBERED), ttl: LATELY })

  begin(digest: Digest, repository?: Repository): Transfer {
    const transfers = this.#running.get(digest) ?? new Map<Transfer, Pick<TransferView, 'repository' | 'since'>>()
    this.#running.set(digest, transfers)
    const transfer: Transfer = {
      size: undefined,
      path: [],
      position: 0,
      source: undefined,
      hasBegun: false,
      waitsForPeers: false,
      end: () => {
        if (!transfers.delete(transfer) || transfers.size > 0) return
        this.#running.delete(digest)
        this.#ended.set(digest, true)
      },
    }
    transfers.set(transfer, { repository, since: Date.now() })
    return transfer
  }

  /** undefined if none runs. */
  of(digest: Digest): RunningTransfers | undefined {
    const transfers = this.#running.get(digest)
    if (transfers === undefined) return undefined
    let size: number | undefined
    let hasBegun = false
    let waitsForPeers = false
    const path = new Set<string>()
    for (const transfer of transfers.keys()) {
      size ??= transfer.size
      hasBegun ||= transfer.hasBegun
      waitsForPeers ||= transfer.waitsForPeers
      for (const id of transfer.path) path.add(id)
    }
    return { size, path: [...path], hasBegun, waitsForPeers }
  }

  /** The transfers of `digests`, of all digests if absent, the longest running first; at most `limit`. */
  list(limit: number, digests?: Iterable<Digest>): readonly TransferView[] {
    const views: TransferView[] = []
    for (const digest of digests ?? this.#running.keys()) {
      for (const [{ size, position, source }, { repository, since }] of this.#running.get(digest) ?? []) {
        views.push({ digest, repository, since, size, position, source })
      }
    }
    return views.toSorted((a, b) => a.since - b.since).slice(0, limit)
  }

  /** How many run. */
  get count(): number {
    let count = 0
    for (const transfers of this.#running.values()) count += transfers.size
    return count
  }

  /** Whether a transfer of the digest runs or has ended in the last ten seconds: the blob may arrive in the content store soon. */
  ranLately(digest: Digest): boolean {
    return this.#running.has(digest) || this.#ended.has(digest)
  }
}
