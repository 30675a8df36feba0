import type { MessageSender } from '../membership/message-sender.ts'
import type { IndexKey, Peer } from '../overlay/overlay.ts'

/** Above this many holders a list grows in place; below, exact copies keep the table small. */
const EXACT_HOLDERS = 16

/** How many keys are looked at before other work gets its turn. */
const SWEEP_SLICE = 5_000

/** The claims of one peer, as one unit that can be dropped at once. */
export interface Claimant {
  readonly peer: Peer
  readonly claims: number
  readonly live: boolean
}

interface MutableClaimant extends Claimant {
  claims: number
  live: boolean
  readonly account: Account
}

/** What all claimants behind one address hold together. */
interface Account {
  readonly remoteAddress: string
  claims: number
  claimants: number
}

export interface ClaimLimits {
  /** Called for each claim that is ignored because of the limits. */
  readonly onIgnored?: ((remoteAddress: string) => void) | undefined
  readonly maxClaims: number
  readonly maxClaimsPerPeer: number
  readonly maxClaimsPerAddress: number
}

/**
 * Who claims which key. Made for many peers with the same keys: a claim is one pointer. Dropping a peer costs nothing at
 * once; its claims are swept away afterwards, in slices.
 */
export class ClaimTable {
  readonly #holders = new Map<IndexKey, MutableClaimant | MutableClaimant[]>()
  readonly #accounts = new Map<string, Account>()
  readonly #limits: ClaimLimits
  #claims = 0
  #ignored = 0
  #sweep: Iterator<[IndexKey, MutableClaimant | MutableClaimant[]]> | undefined
  #sweepAgain = false

  constructor(limits: ClaimLimits) {
    this.#limits = limits
  }

  /** Claims that hold. */
  get claims(): number {
    return this.#claims
  }

  /** Keys in memory, those that wait for the sweep included. */
  get keys(): number {
    return this.#holders.size
  }

  /** Claims that were not taken because of the limits, ever. */
  get ignored(): number {
    return this.#ignored
  }

  /** A claimant without claims. Claimants whose connections come from one address share its budget. */
  open({ id, address, remoteAddress }: MessageSender): Claimant {
    const account = this.#accounts.get(remoteAddress) ?? { remoteAddress, claims: 0, claimants: 0 }
    this.#accounts.set(remoteAddress, account)
    account.claimants++
    const claimant: MutableClaimant = { peer: { id, address }, claims: 0, live: true, account }
    return claimant
  }

  add(claimant: Claimant, key: IndexKey): void {
    const owner = claimant as MutableClaimant
    const held = this.#holders.get(key)
    if (!owner.live || held === owner || (Array.isArray(held) && held.includes(owner))) return
    if (this.#isFull(owner)) {
      this.#ignored++
      this.#limits.onIgnored?.(owner.account.remoteAddress)
      return
    }
    owner.claims++
    owner.account.claims++
    this.#claims++
    if (held === undefined) this.#holders.set(key, owner)
    else if (!Array.isArray(held)) this.#holders.set(key, [held, owner])
    else if (held.length < EXACT_HOLDERS) this.#holders.set(key, [...held, owner])
    else held.push(owner)
  }

  remove(claimant: Claimant, key: IndexKey): void {
    const owner = claimant as MutableClaimant
    const held = this.#holders.get(key)
    if (!owner.live || !(held === owner || (Array.isArray(held) && held.includes(owner)))) return
    owner.claims--
    owner.account.claims--
    this.#claims--
    this.#keep(key, held, (holder) => holder !== owner && holder.live)
  }

  /** Voids all claims of a claimant. */
  drop(claimant: Claimant): void {
    const owner = claimant as MutableClaimant
    if (!owner.live) return
    owner.live = false
    this.#claims -= owner.claims
    const { account } = owner
    account.claims -= owner.claims
    account.claimants--
    if (account.claimants === 0) this.#accounts.delete(account.remoteAddress)
    if (owner.claims > 0) this.#sweepSoon()
  }

  /** The peers that claim a key, each once. */
  find(key: IndexKey): Peer[] {
    const held = this.#holders.get(key)
    if (held === undefined) return []
    if (!Array.isArray(held)) return held.live ? [held.peer] : []
    const peers = new Map<string, Peer>()
    for (const holder of held) if (holder.live) peers.set(holder.peer.id, holder.peer)
    return [...peers.values()]
  }

  #isFull({ claims, account }: MutableClaimant): boolean {
    const { maxClaims, maxClaimsPerPeer, maxClaimsPerAddress } = this.#limits
    return claims >= maxClaimsPerPeer || account.claims >= maxClaimsPerAddress || this.#claims >= maxClaims
  }

  #keep(key: IndexKey, held: MutableClaimant | MutableClaimant[], wanted: (holder: MutableClaimant) => boolean): void {
    const kept = Array.isArray(held) ? held.filter(wanted) : wanted(held) ? [held] : []
    const [first] = kept
    if (first === undefined) this.#holders.delete(key)
    else this.#holders.set(key, kept.length === 1 ? first : kept)
  }

  #sweepSoon(): void {
    this.#sweepAgain = true
    if (this.#sweep !== undefined) return
    this.#sweepAgain = false
    this.#sweep = this.#holders.entries()
    setImmediate(() => this.#sweepSlice()).unref()
  }

  #sweepSlice(): void {
    for (let count = 0; count < SWEEP_SLICE; count++) {
      const next = this.#sweep?.next()
      if (next === undefined || next.done === true) {
        this.#sweep = undefined
        if (this.#sweepAgain) this.#sweepSoon()
        return
      }
      const [key, held] = next.value
      const stale = Array.isArray(held) ? held.some((holder) => !holder.live) : !held.live
      if (stale) this.#keep(key, held, (holder) => holder.live)
    }
    setImmediate(() => this.#sweepSlice()).unref()
  }
}
