import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { compareDistance, kadIdOf } from '../overlay/distance.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { PeerHealth } from '../providers/peer-health.ts'
import { DeadlineError } from '../time/deadline.ts'
import { minute, second } from '../time/units.ts'
import type { SwarmOptions, SwarmTimings } from './swarm-options.ts'

type HealthOptions = Pick<SwarmOptions & SwarmTimings, 'kadId' | 'grace' | 'failureMemory' | 'standInAfter'>

/** When a coordinator let the first and the last of some questions in a row time out, of `performance.now()`. */
interface Silence {
  readonly first: number
  readonly last: number
}

const MAX_LOST = 64
const MAX_SILENT = 1_000
/** Questions that are further apart are not one silence. */
const MUTE_MEMORY = 1 * minute
/** A pause begins a grace only so long after the last one: a node that is paused each second would never grant. */
const GRACE_INTERVAL = 10 * second

/**
 * Which coordinators failed or went lately. Who takes their place does not know what they knew: for a moment it lets the transfers
 * under way report to it before it sends anybody upstream.
 */
export class CoordinatorHealth {
  readonly #overlay: Overlay
  readonly #options: HealthOptions
  readonly #health: PeerHealth
  /** When each was lost, by id. */
  readonly #lost = new LRUCache<string, number>({ max: MAX_LOST })
  /** To questions and reports. */
  readonly #silences: LRUCache<string, Silence>
  /** To questions only. */
  readonly #mute = new LRUCache<string, Silence>({ ...atMost(MAX_SILENT), ttl: MUTE_MEMORY })
  #startedAt = Number.NEGATIVE_INFINITY

  constructor(overlay: Overlay, options: HealthOptions) {
    this.#overlay = overlay
    this.#options = options
    this.#health = new PeerHealth(options.failureMemory)
    this.#silences = new LRUCache({ ...atMost(MAX_SILENT), ttl: options.failureMemory })
  }

  /** This node knows nothing yet. */
  started(): void {
    this.#startedAt = performance.now()
    this.#forgetSilences()
  }

  /** This process was not scheduled for a moment, and may lack reports. */
  paused(): void {
    if (performance.now() - this.#startedAt >= GRACE_INTERVAL) this.started()
    else this.#forgetSilences()
  }

  /** A question failed that was sent at `began`, of `performance.now()`; by a timeout if the error is a DeadlineError. */
  unanswered(peer: Peer, error: unknown, began: number): void {
    this.failed(peer, error, began)
    if (!(error instanceof DeadlineError)) return
    this.#mute.set(peer.id, { first: this.#mute.get(peer.id)?.first ?? began, last: performance.now() })
  }

  /** The same of a question or a report that says less: a report, or a question that was called off. */
  failed(peer: Peer, error: unknown, began: number): void {
    if (!this.#health.isFailing(peer.id)) this.left(peer)
    this.#health.failed(peer.id)
    const last = performance.now()
    const first =
      error instanceof DeadlineError ? (this.#silences.get(peer.id)?.first ?? began) : Number.NEGATIVE_INFINITY
    this.#silences.set(peer.id, { first, last })
  }

  /** It answered a question, but late. */
  wasSlow(peer: Peer): void {
    this.#health.failed(peer.id)
    this.#mute.delete(peer.id)
    this.heard(peer)
  }

  /** It answered a question in time, or has only just come. */
  answered(peer: Peer): void {
    this.#mute.delete(peer.id)
    this.recovered(peer)
  }

  /** It lives: it answered a report. */
  heard(peer: Peer): void {
    this.#silences.delete(peer.id)
  }

  /** It answered a report in time. */
  recovered(peer: Peer): void {
    this.#health.recovered(peer.id)
    this.#lost.delete(peer.id)
    this.heard(peer)
  }

  /**
   * Whether it counts as dead. One that is slow has the only table that is complete: a node that stands in for it too early sends a second node
   * upstream. So it has some time to answer, unless its connections fail. One that answers reports, but no questions, has twice as much, and
   * is asked again after as long: then one more question shows whether it is back.
   */
  isDead(peer: Peer): boolean {
    const { standInAfter } = this.#options
    if (lengthOf(this.#silences.get(peer.id)) >= standInAfter) return true
    const mute = this.#mute.get(peer.id)
    return mute !== undefined && lengthOf(mute) >= 2 * standInAfter && performance.now() - mute.last < 2 * standInAfter
  }

  isFailing(peer: Peer): boolean {
    return this.#health.isFailing(peer.id)
  }

  left(peer: Peer): void {
    this.#lost.set(peer.id, performance.now())
  }

  /** Whether this node, of that rank for the key, may still lack reports of transfers that go on. */
  isNew(key: IndexKey, rank: number): boolean {
    const since = performance.now() - this.#options.grace
    if (this.#startedAt > since && this.#overlay.peers().length > 0) return true
    if (this.#lost.size === 0) return false
    const closer = this.#lostCloser(key, since)
    // Rank 1 hears from every lease holder: while it only stands in it knows what there is to know.
    return closer > 1 || (closer > 0 && rank === 0)
  }

  /** What timed out while this process was paused says nothing. */
  #forgetSilences(): void {
    setImmediate(() => {
      this.#silences.clear()
      this.#mute.clear()
    })
  }

  #lostCloser(key: IndexKey, since: number): number {
    const { kadId } = this.#options
    const target = kadIdOf(Buffer.from(key, 'hex'))
    let count = 0
    for (const [id, at] of [...this.#lost.entries()]) {
      if (at < since) this.#lost.delete(id)
      else if (kadId === undefined || compareDistance(target, kadId(id), kadId(this.#overlay.self.id)) < 0) count++
    }
    return count
  }
}

function lengthOf(silence: Silence | undefined): number {
  return silence === undefined ? Number.NEGATIVE_INFINITY : silence.last - silence.first
}
