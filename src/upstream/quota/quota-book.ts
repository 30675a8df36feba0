import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { SaidQuota } from './quota-headers.ts'
import { type QuotaView, THIS_ADDRESS, knownUntil, mergeViews, quotaKey } from './quota-view.ts'

/** An address of a registry, and the credential with which this node asks it. */
export interface QuotaSeat {
  readonly registry: string
  /** The name of the address that is asked: two paths of one host may be counted apart. */
  readonly host: string
  /** Names the credential without its secret; undefined for none. */
  readonly credentialId: string | undefined
  /** The account of that credential, if it names one. */
  readonly account: string | undefined
}

export interface QuotaChange {
  readonly view: QuotaView
  /** `answer`: a registry said it to this node; `neighbour`: another node passed it on. */
  readonly from: 'answer' | 'neighbour'
}

const MAX_VIEWS = 5_000
const MAX_SEATS = 5_000
/** Characters of an account's name. */
const MAX_SOURCE = 200

/** What is known about quotas: those that count for this node, and those that it keeps for others. */
export class QuotaBook {
  readonly #views = new LRUCache<string, QuotaView>(atMost(MAX_VIEWS))
  /** The key of the quota that a registry counted each seat to. */
  readonly #seats = new LRUCache<string, string>(atMost(MAX_SEATS))
  readonly #listeners = new Set<(change: QuotaChange) => void>()

  /** Notes what an answer to this node said. */
  note(seat: QuotaSeat, said: SaidQuota): void {
    const { source = seat.account?.slice(0, MAX_SOURCE) ?? THIS_ADDRESS, ...counts } = said
    const view: QuotaView = { registry: seat.registry, host: seat.host, source, ...counts }
    this.#seats.set(seatKey(seat), quotaKey(view))
    this.#merge(view, 'answer')
  }

  /** Notes what another node knows; whether it counts for this node is for the registry to say. */
  learn(view: QuotaView): void {
    if (view.source !== THIS_ADDRESS) this.#merge(view, 'neighbour')
  }

  /** The registry has no limit for this seat any more. */
  forget(seat: QuotaSeat): void {
    this.#seats.delete(seatKey(seat))
  }

  /** The quota that counts for a seat; undefined if no limit is known. */
  of(seat: QuotaSeat, now = Date.now()): QuotaView | undefined {
    const key = this.#seats.peek(seatKey(seat))
    return key === undefined ? undefined : this.#current(key, now)
  }

  /** The quota of a source, whether it counts for this node or not. */
  about(source: Pick<QuotaView, 'registry' | 'host' | 'source'>, now = Date.now()): QuotaView | undefined {
    return this.#current(quotaKey(source), now)
  }

  /** The quotas that count for this node. */
  views(now = Date.now()): readonly QuotaView[] {
    return this.#ownKeys().flatMap((key) => this.#current(key, now) ?? [])
  }

  /** As whom a registry counts this node, as far as it has said so. */
  sourcesAt(registry: string): readonly string[] {
    const views = this.#ownKeys().flatMap((key) => this.#views.get(key) ?? [])
    return views.filter((view) => view.registry === registry).map(({ source }) => source)
  }

  isOwn(view: QuotaView): boolean {
    const key = quotaKey(view)
    return this.#seats.values().some((own) => own === key)
  }

  /** Tells of each quota that is known anew or differently. Returns its own end. */
  onChange(listener: (change: QuotaChange) => void): () => void {
    const own = (change: QuotaChange) => listener(change)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** The quotas that count for this node, in the order of the registries' answers: reads use `peek`, which keeps it. */
  #ownKeys(): readonly string[] {
    return [...new Set([...this.#seats.values()].toReversed())]
  }

  #merge(view: QuotaView, from: QuotaChange['from']): void {
    const key = quotaKey(view)
    const known = this.#views.get(key)
    const merged = known === undefined ? view : mergeViews(known, view)
    this.#views.set(key, merged)
    if (merged === known) return
    for (const listener of this.#listeners) listener({ view: merged, from })
  }

  #current(key: string, now: number): QuotaView | undefined {
    const view = this.#views.get(key)
    return view !== undefined && now < knownUntil(view) ? view : undefined
  }
}

function seatKey({ registry, host, credentialId }: QuotaSeat): string {
  return JSON.stringify([registry, host, credentialId])
}
