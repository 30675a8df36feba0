import type { MessageSender } from '../membership/message-sender.ts'
import type { IndexKey } from '../overlay/overlay.ts'
import { minute } from '../time/units.ts'
import type { Claimant, ClaimTable } from './claim-table.ts'
import type { Announcement, AnnounceResult, Claims } from './messages.ts'

const OK: AnnounceResult = { type: 'ok' }
const RESYNC: AnnounceResult = { type: 'resync' }

/** More members than any cluster has; announcements of others are ignored. */
const MAX_STREAMS = 20_000

/** Claims of a member that is silent for longer than this are void, whatever lifetime it asked for. */
const MAX_TTL = 5 * minute

/** After a claim proved wrong the peer's whole set is asked for anew, but not more often than every so many ttls. */
const DOUBT_TTLS = 10

/** What one peer has told so far. */
interface Stream {
  readonly epoch: string
  seq: number
  claimant: Claimant
  /** The claims before a full set began to come: believed until the new ones are complete. */
  previous: Claimant | undefined
  complete: boolean
  scope: Claims['scope']
  expiresAt: number
  fullAt: number
  doubted: boolean
}

/** Turns the streams of announcements from other members into claims, and lets those of silent peers expire. */
export class ClaimReceiver {
  readonly #table: ClaimTable
  readonly #selfId: string
  readonly #streams = new Map<string, Stream>()
  #resyncs = 0

  constructor(table: ClaimTable, selfId: string) {
    this.#table = table
    this.#selfId = selfId
  }

  /** How often a peer was asked for its full set. */
  get resyncs(): number {
    return this.#resyncs
  }

  /** True if every claim of the peer is in the table. */
  isComplete(peerId: string): boolean {
    const stream = this.#streams.get(peerId)
    return stream !== undefined && stream.complete && stream.scope === 'all'
  }

  apply(message: Announcement, from: MessageSender): AnnounceResult {
    // A node with a copied identity: nothing that it says can be told from this node's own words.
    if (from.id === this.#selfId) return OK
    const result = message.type === 'leaving' ? this.#leave(from, message.epoch) : this.#step(message, from)
    if (result.type === 'resync') this.#resyncs++
    return result
  }

  /** Forgets a peer and all that it claimed. */
  drop(peerId: string): void {
    const stream = this.#streams.get(peerId)
    if (stream === undefined) return
    this.#streams.delete(peerId)
    this.#void(stream)
  }

  /** Removes a claim that proved wrong. */
  disprove(key: IndexKey, peerId: string): void {
    const stream = this.#streams.get(peerId)
    if (stream === undefined) return
    this.#table.remove(stream.claimant, key)
    if (stream.previous !== undefined) this.#table.remove(stream.previous, key)
    stream.doubted = true
  }

  /** Drops the peers that were not heard of for their ttl. */
  expire(): void {
    const now = performance.now()
    for (const [peerId, stream] of this.#streams) if (stream.expiresAt <= now) this.drop(peerId)
  }

  #leave(from: MessageSender, epoch: string): AnnounceResult {
    const stream = this.#streams.get(from.id)
    if (stream?.epoch !== epoch) return OK
    // The stream stays, empty and complete, so that nobody asks the leaving peer what it still has.
    this.#void(stream)
    stream.claimant = this.#table.open(from)
    stream.complete = true
    stream.scope = 'all'
    // An announcement that was overtaken must not bring the claims back.
    stream.seq = Number.POSITIVE_INFINITY
    return OK
  }

  #step(message: Claims, from: MessageSender): AnnounceResult {
    const now = performance.now()
    const known = this.#streams.get(from.id)
    const current = known?.epoch === message.epoch ? known : undefined
    if (current !== undefined) {
      // Alive in any case, also if this is a repetition or does not fit.
      current.expiresAt = now + Math.min(message.ttl, MAX_TTL)
      if (message.seq <= current.seq) return OK
    }
    if (message.full) return this.#begin(message, from, known, now)
    if (current === undefined || current.seq !== message.after) return RESYNC
    if (this.#isDoubtful(current, message, now)) return RESYNC
    this.#advance(current, message)
    return OK
  }

  #begin(message: Claims, from: MessageSender, known: Stream | undefined, now: number): AnnounceResult {
    if (known === undefined && this.#streams.size >= MAX_STREAMS) return OK
    if (known?.previous !== undefined) this.#table.drop(known.previous)
    const stream: Stream = {
      epoch: message.epoch,
      seq: message.seq,
      claimant: this.#table.open(from),
      previous: known?.claimant,
      complete: false,
      scope: message.scope,
      expiresAt: now + Math.min(message.ttl, MAX_TTL),
      fullAt: now,
      doubted: false,
    }
    this.#streams.set(from.id, stream)
    this.#advance(stream, message)
    return OK
  }

  #advance(stream: Stream, message: Claims): void {
    stream.seq = message.seq
    for (const key of message.remove) {
      this.#table.remove(stream.claimant, key)
      if (stream.previous !== undefined) this.#table.remove(stream.previous, key)
    }
    for (const key of message.add) this.#table.add(stream.claimant, key)
    if (message.more || stream.complete) return
    stream.complete = true
    if (stream.previous !== undefined) this.#table.drop(stream.previous)
    stream.previous = undefined
  }

  /** A claim was dropped here that the peer still makes, perhaps rightly by now: its renewal is the time to compare. */
  #isDoubtful(stream: Stream, message: Claims, now: number): boolean {
    const isRenewal = message.add.length === 0 && message.remove.length === 0
    return stream.doubted && isRenewal && now - stream.fullAt >= DOUBT_TTLS * message.ttl
  }

  #void(stream: Stream): void {
    this.#table.drop(stream.claimant)
    if (stream.previous !== undefined) this.#table.drop(stream.previous)
    stream.previous = undefined
  }
}
