import { hkdfSync } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import type { NodeIdentity } from '../membership/node-identity.ts'
import { WIRE_VERSION } from '../membership/wire-version.ts'

/** More than the members of the largest cluster; some 200 bytes each. */
const MAX_PAIRS = 20_000
/** In place of the key of a cluster secret, in a cluster without one: everybody knows it. */
export const NO_SECRET = new Uint8Array()

/**
 * The keys that only this node and one other node can compute: X25519 of both identities, mixed by HKDF with a cluster secret and both ids.
 * 0.6 ms for a new pair, then from a cache.
 */
export class PairKeys {
  readonly #identity: NodeIdentity
  readonly #secrets: readonly Uint8Array[]
  readonly #cache = new LRUCache<string, readonly Buffer[]>(atMost(MAX_PAIRS))

  /** `secrets`: the node protocol's keys of the cluster secrets, the current one first; {@link NO_SECRET} in a cluster without a secret. */
  constructor(identity: NodeIdentity, secrets: readonly Uint8Array[]) {
    this.#identity = identity
    this.#secrets = secrets
  }

  /** The keys shared with a node, one for each secret, the current one first; empty if its id cannot be used. */
  of(id: string): readonly Buffer[] {
    const known = this.#cache.get(id)
    if (known !== undefined) return known
    const shared = this.#identity.agree(id)
    if (shared === undefined) return []
    const ids = [this.#identity.id, id].sort().join(' ')
    const keys = this.#secrets.map((secret) =>
      Buffer.from(hkdfSync('sha256', shared, secret, `nabo pair ${WIRE_VERSION} ${ids}`, 32)),
    )
    this.#cache.set(id, keys)
    return keys
  }
}
