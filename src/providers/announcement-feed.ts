import type { Peer } from '../overlay/overlay.ts'
import { withDeadline } from '../time/deadline.ts'
import type { IndexOptions } from './index-options.ts'
import type { IndexTransport } from './index-transport.ts'
import type { Journal, JournalCursor } from './journal.ts'
import type { Claims } from './messages.ts'
import type { PeerHealth } from './peer-health.ts'

/** What all feeds of this process share. */
export interface FeedContext {
  readonly epoch: string
  readonly transport: IndexTransport
  readonly options: IndexOptions
  readonly health: PeerHealth
  readonly counters: AnnouncementCounters
  /** Grows with every call. */
  readonly nextSeq: () => number
}

export interface AnnouncementCounters {
  sent: number
  failed: number
  /** How often a peer asked for the full set. */
  resyncs: number
}

/** So many failures of one message and the stream begins anew: the peer may choke on this very message. */
const FAILURES_BEFORE_RESTART = 4

/**
 * Keeps one peer up to date about the keys of a journal: one message in flight, repeated until it is acknowledged. It
 * holds no queue of its own, so a peer that is out of reach costs one message of memory.
 */
export class AnnouncementFeed {
  readonly peer: Peer
  readonly #journal: Journal
  readonly #scope: Claims['scope']
  readonly #context: FeedContext
  readonly #cursor: JournalCursor
  readonly #closed = new AbortController()
  #pending: Claims | undefined
  #sending = false
  #failures = 0
  #acknowledged = 0
  #full = true
  #timer: NodeJS.Timeout | undefined
  #dueAt = Number.POSITIVE_INFINITY

  constructor(peer: Peer, journal: Journal, scope: Claims['scope'], context: FeedContext) {
    this.peer = peer
    this.#journal = journal
    this.#scope = scope
    this.#context = context
    this.#cursor = journal.open()
    // Even a node that holds nothing says so: from then on nobody has to ask it.
    this.#wakeIn(0)
  }

  /** Whether the peer has acknowledged everything. */
  get isInSync(): boolean {
    return this.#acknowledged > 0 && !this.#full && this.#pending === undefined && !this.#cursor.behind
  }

  /** The peer knows everything, and that is nothing. */
  get isIdle(): boolean {
    return this.#journal.size === 0 && this.isInSync
  }

  /** The journal has changed. */
  wake(): void {
    if (!this.#sending && this.#failures === 0) this.#wakeIn(this.#context.options.batchDelay)
  }

  /** Sends a sign of life now, and with it all that waits. */
  hurry(): void {
    if (!this.#sending) this.#wakeIn(0)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#closed.abort(new Error('the feed is closed'))
    this.#cursor.close()
  }

  /** Takes all claims back. Never rejects: a peer that does not hear it will let them expire. */
  async leave(options: { signal: AbortSignal }): Promise<void> {
    this.close()
    const { transport, epoch, options: settings } = this.#context
    await withDeadline(settings.sendTimeout, 'withdrawing', options.signal, (signal) =>
      transport.announce(this.peer, { type: 'leaving', epoch }, { signal }),
    ).catch(() => {})
  }

  #wakeIn(ms: number): void {
    const dueAt = performance.now() + ms
    if (this.#closed.signal.aborted || dueAt >= this.#dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => void this.#send(), ms).unref()
  }

  async #send(): Promise<void> {
    this.#dueAt = Number.POSITIVE_INFINITY
    this.#sending = true
    const message = (this.#pending ??= this.#nextMessage())
    try {
      const { sendTimeout } = this.#context.options
      const result = await withDeadline(sendTimeout, 'announcing', this.#closed.signal, (signal) =>
        this.#context.transport.announce(this.peer, message, { signal }),
      )
      if (result.type === 'ok') this.#succeed(message)
      else this.#resync(message)
    } catch {
      if (!this.#closed.signal.aborted) this.#fail()
    } finally {
      this.#sending = false
    }
    this.#wakeIn(this.#pause(message))
  }

  #nextMessage(): Claims {
    if (this.#cursor.lost || this.#full) {
      this.#full = true
      this.#cursor.rewind()
    }
    const { epoch, nextSeq, options } = this.#context
    const { add, remove } = this.#cursor.read(options.batchKeys)
    return {
      type: 'claims',
      epoch,
      seq: nextSeq(),
      after: this.#acknowledged,
      full: this.#full,
      more: this.#cursor.behind,
      scope: this.#scope,
      ttl: options.ttl,
      add,
      remove,
    }
  }

  #succeed(message: Claims): void {
    this.#pending = undefined
    this.#failures = 0
    this.#full = false
    this.#acknowledged = message.seq
    this.#context.counters.sent++
    this.#context.health.recovered(this.peer.id)
  }

  #resync(message: Claims): void {
    this.#context.counters.resyncs++
    // A full set needs nothing before it; a peer that refuses one all the same is treated like one that fails.
    if (message.full) return this.#fail()
    this.#restart()
  }

  #fail(): void {
    this.#context.counters.failed++
    this.#context.health.failed(this.peer.id)
    this.#failures++
    if (this.#failures % FAILURES_BEFORE_RESTART === 0) this.#restart()
  }

  #restart(): void {
    this.#pending = undefined
    this.#full = true
  }

  /** Milliseconds until the next message. Jitter keeps many feeds from beating in time. */
  #pause(message: Claims): number {
    const { ttl, retryDelay, batchDelay } = this.#context.options
    const renewal = (ttl / 3) * (0.75 + Math.random() / 4)
    if (this.#failures > 0) {
      return Math.min(retryDelay * 2 ** Math.min(this.#failures - 1, 16), renewal) * (0.5 + Math.random() / 2)
    }
    if (this.#full) return 0
    if (this.#cursor.behind) return message.more ? 0 : batchDelay
    return renewal
  }
}
