import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import type { Log } from '../telemetry/log.ts'
import { PacedWarnings } from '../telemetry/paced-warnings.ts'
import { minute } from '../time/units.ts'

/** Why a node of Nabo cannot be a member of this cluster: it has another cluster secret, or speaks another version of the protocol. */
export type Mismatch = 'secret' | 'version'

/** A node that could not join, or that this node could not join. */
export interface RefusedNode {
  /** Its IP address. */
  readonly host: string
  readonly mismatch: Mismatch
}

/** A node that is still refused tries again within a minute, so a finding ends soon after its cause. */
const MEMORY = 3 * minute
const MAX_HOSTS = 64

const WARNINGS: Readonly<Record<Mismatch, string>> = {
  secret:
    'a node has another cluster secret, so that neither of the two can join the other: compare the files of --cluster-secret-file on both (sha256sum), and restart Nabo where it was changed',
  version:
    'a node speaks another version of the protocol between nodes, so that neither of the two can join the other: run the same version of Nabo on both',
}

/**
 * The nodes of Nabo that were refused lately, in either direction. Anybody who reaches the router's port can be listed here, so that an entry
 * is a hint for the operator and nothing more.
 */
export class RefusedNodes {
  /** Refusals since the start. */
  readonly total: Record<Mismatch, number> = { secret: 0, version: 0 }
  readonly #hosts: LRUCache<string, Mismatch>
  readonly #warnings: PacedWarnings<Mismatch>

  constructor(log: Pick<Log, 'warn'>) {
    this.#hosts = new LRUCache({ ...atMost(MAX_HOSTS), ttl: MEMORY })
    this.#warnings = new PacedWarnings(log)
  }

  add({ host, mismatch }: RefusedNode): void {
    this.total[mismatch] += 1
    this.#hosts.set(host, mismatch)
    this.#warnings.warn(mismatch, WARNINGS[mismatch], () => ({ address: host }))
  }

  /** Those of the last minutes, the latest first; 64 at most. */
  recent(): readonly RefusedNode[] {
    return [...this.#hosts.entries()].map(([host, mismatch]) => ({ host, mismatch }))
  }
}
