import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Peer } from '../../overlay/overlay.ts'
import type { Log } from '../../telemetry/log.ts'
import { minute } from '../../time/units.ts'

/** How long a holder that sent wrong bytes is not asked. */
const MEMORY = 10 * minute
/** Different wrong blobs after which a holder is avoided for every digest: its disk is damaged, or it lies. */
const TOO_MANY = 3
/** More than a cluster has members, and than one of them has to send to be avoided altogether. */
const MAX_HOLDERS = 1_000

interface Caught {
  /** When each is forgiven. */
  readonly digests: Map<Digest, number>
  avoidedUntil: number
}

/** Complete holders that this node itself caught: each sent a whole blob alone, and the hash was wrong. */
export class CaughtHolders {
  readonly #log: Pick<Log, 'warn'>
  /** By peer id. */
  readonly #holders = new LRUCache<string, Caught>(atMost(MAX_HOLDERS))
  #total = 0

  constructor(log: Pick<Log, 'warn'>) {
    this.#log = log
  }

  caught(digest: Digest, peer: Peer): void {
    const now = performance.now()
    const known = this.#holders.get(peer.id) ?? { digests: new Map<Digest, number>(), avoidedUntil: 0 }
    for (const [other, until] of known.digests) if (until <= now) known.digests.delete(other)
    // A fourth one adds nothing.
    if (known.digests.size < TOO_MANY || known.digests.has(digest)) known.digests.set(digest, now + MEMORY)
    const altogether = known.digests.size >= TOO_MANY
    if (altogether) known.avoidedUntil = now + MEMORY
    this.#holders.set(peer.id, known)
    this.#total += 1
    this.#log.warn(
      { digest, peer: peer.address, altogether },
      'a holder sent wrong bytes: it is not asked for ten minutes',
    )
  }

  avoids(digest: Digest, peer: Peer): boolean {
    const known = this.#holders.get(peer.id)
    if (known === undefined) return false
    const now = performance.now()
    return known.avoidedUntil > now || (known.digests.get(digest) ?? 0) > now
  }

  /** How often one was caught since the start. */
  get total(): number {
    return this.#total
  }
}
