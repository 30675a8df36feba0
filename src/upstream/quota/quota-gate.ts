import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { withDeadline } from '../../time/deadline.ts'
import { second } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import type { QuotaBook, QuotaSeat } from './quota-book.ts'
import { readQuotaHeaders } from './quota-headers.ts'
import { type QuotaView, isUsedUp, knownUntil, quotaKey } from './quota-view.ts'
import { usedUpText } from './quota-words.ts'

/** Asks other nodes what they know about a quota, and has the book learn it. */
export type AskNeighbours = (view: QuotaView, options: { signal: AbortSignal }) => Promise<void>

/** An answer of a registry, as the gate needs to see it. */
export interface CountedAnswer {
  readonly method: string
  readonly status: number
  header(name: string): string | undefined
}

/** What was said so long ago may not be so any more: other nodes may have pulled since. */
const FRESH = 2 * second
const ASK_TIMEOUT = 500
/** How often a used up quota is looked at again: HEAD is free, and windows end earlier than is known here. */
const PROBE_INTERVAL = 30 * second
const PROBE_TIMEOUT = 2 * second
const MAX_PROBES = 1_000

/** Lets a manifest be fetched only while the registry would give it. */
export class QuotaGate {
  readonly #book: QuotaBook
  readonly #probed = new LRUCache<string, number>(atMost(MAX_PROBES))
  #askNeighbours: AskNeighbours = async () => {}
  /** Fetches that were not sent since nothing remained. */
  refused = 0

  constructor(book: QuotaBook) {
    this.#book = book
  }

  /** From now on other nodes are asked as well. */
  askNeighbours(ask: AskNeighbours): void {
    this.#askNeighbours = ask
  }

  /** Notes what an answer from the registry itself says. Only what it sends with a manifest shows that there is no limit. */
  observe(seat: QuotaSeat, kind: string, answer: CountedAnswer): void {
    // A refusal was for nobody yet.
    if (answer.status === 401 || answer.status === 403) return
    const said = readQuotaHeaders((name) => answer.header(name), Date.now())
    if (said !== undefined) this.#book.note(seat, said)
    else if (kind === 'manifests' && answer.method === 'GET' && answer.status === 200) this.#book.forget(seat)
  }

  /**
   * Returns if a GET of a manifest may be sent; `probe` sends a HEAD for it. Throws UpstreamError `limited` if nothing remains. Waits
   * only for what neighbours know, and now and then for the probe.
   */
  async mayGet(
    seat: QuotaSeat,
    probe: (signal: AbortSignal) => Promise<unknown>,
    options: { signal: AbortSignal },
  ): Promise<void> {
    let view = this.#book.of(seat)
    if (view === undefined) return
    if (Date.now() - view.asOf > FRESH) {
      await this.#within(ASK_TIMEOUT, options, (signal) => this.#askNeighbours(view as QuotaView, { signal }))
      view = this.#book.of(seat)
    }
    if (view === undefined || !isUsedUp(view, Date.now())) return
    if (this.#isProbeDue(view)) {
      await this.#within(PROBE_TIMEOUT, options, probe)
      view = this.#book.of(seat)
      if (view === undefined || !isUsedUp(view, Date.now())) return
    }
    this.refused += 1
    throw usedUp(view)
  }

  /** Why a GET that was sent all the same was refused; undefined if not for a quota that is known. */
  refusalOf(seat: QuotaSeat): UpstreamError | undefined {
    const view = this.#book.of(seat)
    return view !== undefined && isUsedUp(view, Date.now()) ? usedUp(view, 429) : undefined
  }

  #isProbeDue(view: QuotaView): boolean {
    const now = Date.now()
    const key = quotaKey(view)
    if (now - Math.max(view.asOf, this.#probed.get(key) ?? 0) < PROBE_INTERVAL) return false
    this.#probed.set(key, now)
    return true
  }

  /** Whoever cannot say in time has said nothing. */
  async #within(
    ms: number,
    options: { signal: AbortSignal },
    work: (signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    try {
      await withDeadline(ms, 'asking about a quota', options.signal, work)
    } catch {
      options.signal.throwIfAborted()
    }
  }
}

function usedUp(view: QuotaView, status?: number): UpstreamError {
  const retryAfter = Math.max(0, knownUntil(view) - Date.now())
  return new UpstreamError('limited', usedUpText(view), {
    limit: view,
    retryAfter,
    ...(status === undefined ? {} : { status }),
  })
}
