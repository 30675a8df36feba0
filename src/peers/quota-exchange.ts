import { createHash } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { quota } from '../contracts/node/quota.ts'
import type { NodeCaller } from '../contracts/node-caller.ts'
import type { IndexKey, Overlay, Peer } from '../overlay/overlay.ts'
import { withDeadline } from '../time/deadline.ts'
import { second } from '../time/units.ts'
import type { QuotaBook } from '../upstream/quota/quota-book.ts'
import { type QuotaView, THIS_ADDRESS, quotaKey } from '../upstream/quota/quota-view.ts'

/** Answers what other nodes tell. */
export interface QuotaHandler {
  /** Learns from it, and returns what is known here now. */
  handleQuota(view: QuotaView): QuotaView
}

export interface QuotaExchangeOptions {
  readonly overlay: Pick<Overlay, 'self' | 'peers' | 'closest'>
  /** undefined in a cluster without a secret: a stranger could say that a quota is used up, so no node is asked or told. */
  readonly nodes: NodeCaller | undefined
  readonly book: QuotaBook
  /** How many nodes keep a quota where not everybody does. */
  readonly replicas: number
}

/** In so small a cluster everybody is told, so that everybody shows the same. */
const EVERYBODY = 40
const MESSAGE_TIMEOUT = 500
/** A quota is told of no more often, however fast it shrinks. */
const TELL_INTERVAL = 1 * second
/** As many as may change at the same time. */
const MAX_TOLD = 1_000

interface Told {
  readonly remaining: number
  readonly limit: number
  /** On the process's own clock, in milliseconds. */
  readonly at: number
  waiting: NodeJS.Timeout | undefined
}

/**
 * Shares what registries say about quotas between the nodes that they count together: the nodes closest to a key made from registry and
 * source keep it. Whoever has an answer tells them; whoever is about to pull asks them. All of it may fail: the registry has the last word.
 */
export class QuotaExchange implements QuotaHandler {
  readonly #options: QuotaExchangeOptions
  readonly #told = new LRUCache<string, Told>({ ...atMost(MAX_TOLD), dispose: ({ waiting }) => clearTimeout(waiting) })
  readonly #asking = new Map<string, Promise<void>>()
  readonly #closed = new AbortController()
  readonly #end: () => void

  constructor(options: QuotaExchangeOptions) {
    this.#options = options
    this.#end = options.book.onChange(({ view, from }) => {
      if (from === 'answer') this.#tellSoon(view)
    })
  }

  stop(): void {
    this.#end()
    this.#closed.abort(new Error('the node stops'))
    this.#told.clear()
  }

  handleQuota(view: QuotaView): QuotaView {
    this.#options.book.learn(view)
    return this.#options.book.about(view) ?? view
  }

  /** Has the book learn what the nodes that keep a quota know; returns with the first answer. */
  ask(view: QuotaView, options: { signal: AbortSignal }): Promise<void> {
    // Everybody is told of everything: nobody knows more.
    if (this.#options.nodes === undefined || view.source === THIS_ADDRESS || this.#isSmall()) return Promise.resolve()
    const key = quotaKey(view)
    let asking = this.#asking.get(key)
    if (asking === undefined) {
      asking = this.#post(view).finally(() => this.#asking.delete(key))
      this.#asking.set(key, asking)
    }
    return withDeadline(MESSAGE_TIMEOUT, 'asking about a quota', options.signal, () => asking)
  }

  #tellSoon(view: QuotaView): void {
    const key = quotaKey(view)
    const last = this.#told.get(key)
    const isNews = last?.remaining !== view.remaining || last.limit !== view.limit
    if (view.source === THIS_ADDRESS || !isNews || last?.waiting !== undefined) return
    const wait = Math.max(0, (last?.at ?? 0) + TELL_INTERVAL - performance.now())
    if (last === undefined || wait === 0) return this.#tell(key, view)
    last.waiting = setTimeout(() => {
      last.waiting = undefined
      this.#tell(key, this.#options.book.about(view) ?? view)
    }, wait)
    last.waiting.unref()
  }

  #tell(key: string, view: QuotaView): void {
    this.#told.set(key, { remaining: view.remaining, limit: view.limit, at: performance.now(), waiting: undefined })
    void this.#post(view).catch(() => {})
  }

  /** Sends it to all that keep it; resolves with the first answer, and learns from each. Rejects if there is none. */
  async #post(view: QuotaView): Promise<void> {
    const { nodes, book } = this.#options
    if (nodes === undefined) return
    const peers = await this.#keepers(view)
    if (peers.length === 0) return
    const answers = peers.map((peer) =>
      withDeadline(MESSAGE_TIMEOUT, `telling ${peer.address} of a quota`, this.#closed.signal, async (signal) => {
        const answer = await nodes.call(peer, quota, view, { signal })
        if (quotaKey(answer) === quotaKey(view)) book.learn(answer)
      }),
    )
    await Promise.any(answers)
  }

  async #keepers(view: QuotaView): Promise<readonly Peer[]> {
    const { overlay, replicas } = this.#options
    if (this.#isSmall()) return overlay.peers()
    const closest = await withDeadline(
      MESSAGE_TIMEOUT,
      'finding the keepers of a quota',
      this.#closed.signal,
      (signal) => overlay.closest(keyOfQuota(view), replicas, { signal }),
    )
    return closest.filter((peer) => peer.id !== overlay.self.id)
  }

  #isSmall(): boolean {
    return this.#options.overlay.peers().length < EVERYBODY
  }
}

function keyOfQuota(view: QuotaView): IndexKey {
  return createHash('sha256')
    .update(`quota ${quotaKey(view)}`)
    .digest('hex') as IndexKey
}
