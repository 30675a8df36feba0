import type { MessageSender } from '../membership/message-sender.ts'
import type { IndexKey, Overlay, OverlayEvent, Peer } from '../overlay/overlay.ts'
import { Announcer } from './announcer.ts'
import { ClaimReceiver } from './claim-receiver.ts'
import { ClaimTable } from './claim-table.ts'
import { Disproofs } from './disproofs.ts'
import { INDEX_DEFAULTS, type IndexOptions } from './index-options.ts'
import type { IndexHandler, IndexTransport } from './index-transport.ts'
import { type Announcement, type AnnounceResult, type LookupResult, MAX_PROVIDERS_PER_KEY } from './messages.ts'
import { PeerHealth } from './peer-health.ts'
import type { ProviderIndex } from './provider-index.ts'
import { RemoteLookup, type RemoteQuestion, type Survey } from './remote-lookup.ts'
import { shuffled } from './shuffled.ts'

/** What the index knows and did, for the operator. The last six count since the start. */
export interface IndexStats {
  /** Whether everybody keeps everything, or each key is placed on the nodes closest to it. */
  readonly scope: 'all' | 'placed'
  readonly ownKeys: number
  /** Claims of others that are known here, and the keys they are for. */
  readonly claims: number
  readonly claimedKeys: number
  readonly members: number
  /** Members whose claims are all known here. */
  readonly membersHeard: number
  /** Peers that this node announces to, and those that know everything that they should. */
  readonly peersFed: number
  readonly peersInSync: number
  readonly announcementsSent: number
  readonly announcementsFailed: number
  /** Full sets that others asked this node for, and that it asked others for. */
  readonly resyncsServed: number
  readonly resyncsAsked: number
  readonly claimsIgnored: number
  readonly claimsDisproved: number
}

export interface PeerStanding {
  /** It has acknowledged all of this node's claims that it is to know; undefined if it is to know none. */
  readonly knowsUs: boolean | undefined
  /** All of its claims that this node is to know are known here. */
  readonly isHeard: boolean
  /** A message to it failed a moment ago. */
  readonly isFailing: boolean
}

/**
 * The provider index kept by its members: by everybody in a small cluster, where finding is a local read; in a large one
 * by the nodes XOR-closest to each key. Hand it to whatever answers the other members' `IndexTransport`.
 */
export class ReplicatedIndex implements ProviderIndex, IndexHandler {
  readonly #overlay: Overlay
  readonly #options: IndexOptions
  readonly #table: ClaimTable
  readonly #receiver: ClaimReceiver
  readonly #announcer: Announcer
  readonly #health: PeerHealth
  readonly #disproofs: Disproofs
  readonly #remote: RemoteLookup
  readonly #members = new Map<string, Peer>()
  #claimsDisproved = 0
  #unsubscribe: (() => void) | undefined
  #expiry: NodeJS.Timeout | undefined

  constructor(overlay: Overlay, transport: IndexTransport, options: Partial<IndexOptions> = {}) {
    this.#overlay = overlay
    this.#options = { ...INDEX_DEFAULTS, ...options }
    this.#table = new ClaimTable(this.#options)
    this.#receiver = new ClaimReceiver(this.#table, overlay.self.id)
    this.#health = new PeerHealth(this.#options.failureMemory)
    this.#announcer = new Announcer(overlay, transport, this.#options, this.#health)
    this.#disproofs = new Disproofs(this.#options.disproofMemory)
    this.#remote = new RemoteLookup(overlay, transport, this.#health, this.#options)
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#overlay.subscribe((event) => this.#membership(event))
    for (const peer of this.#overlay.peers()) this.#members.set(peer.id, peer)
    this.#announcer.start()
    this.#expiry = setInterval(() => this.#receiver.expire(), Math.min(1_000, this.#options.ttl / 4)).unref()
  }

  async stop(options: { signal: AbortSignal }): Promise<void> {
    this.#unsubscribe?.()
    clearInterval(this.#expiry)
    this.#remote.close()
    await this.#announcer.stop(options)
  }

  announce(keys: Iterable<IndexKey>): void {
    this.#announcer.announce(keys)
  }

  withdraw(keys: Iterable<IndexKey>): void {
    this.#announcer.withdraw(keys)
  }

  async find(key: IndexKey, options: { signal: AbortSignal }): Promise<readonly Peer[]> {
    const known = this.#usable(key, this.#table.find(key))
    if (known.some((peer) => !this.#health.isFailing(peer.id))) return this.#ordered(known)
    const hints = await this.#remote.find(key, this.#question(key, options))
    return this.#ordered([...known, ...hints])
  }

  /** All other nodes that claim a key, and whether that is all of them: for people. Asks all who could know; never rejects. */
  async survey(key: IndexKey, options: { signal: AbortSignal }): Promise<Survey> {
    const said = await this.#remote.survey(key, this.#question(key, options))
    return { ...said, holders: this.#ordered([...this.#usable(key, this.#table.find(key)), ...said.holders]) }
  }

  /** How this node and a peer stand with each other. */
  standing(peerId: string): PeerStanding {
    return {
      knowsUs: this.#announcer.isInSync(peerId),
      isHeard: this.#receiver.isComplete(peerId),
      isFailing: this.#health.isFailing(peerId),
    }
  }

  disprove(key: IndexKey, peer: Peer): void {
    this.#claimsDisproved++
    this.#disproofs.add(key, peer.id)
    this.#receiver.disprove(key, peer.id)
  }

  handleAnnounce(message: Announcement, from: MessageSender): AnnounceResult {
    const result = this.#receiver.apply(message, from)
    if (message.type === 'claims' && result.type === 'ok') this.#disproofs.forget(message.add, from.id)
    return result
  }

  /** Forgets the claims of a node that another one has replaced at its address, unless the overlay still knows the node. */
  forget(peerId: string): void {
    if (!this.#members.has(peerId)) this.#receiver.drop(peerId)
  }

  handleLookup(keys: readonly IndexKey[]): LookupResult {
    return keys.map((key) => {
      const own = this.#announcer.own.has(key) ? [this.#overlay.self] : []
      const known = this.#usable(key, this.#table.find(key))
      return [...own, ...shuffled(known)].slice(0, MAX_PROVIDERS_PER_KEY)
    })
  }

  stats(): IndexStats {
    const { peers, inSync } = this.#announcer.progress()
    const { sent, failed, resyncs } = this.#announcer.counters
    const members = [...this.#members.keys()]
    return {
      scope: this.#announcer.scope,
      ownKeys: this.#announcer.own.size,
      claims: this.#table.claims,
      claimedKeys: this.#table.keys,
      members: members.length,
      membersHeard: members.filter((id) => this.#receiver.isComplete(id)).length,
      peersFed: peers,
      peersInSync: inSync,
      announcementsSent: sent,
      announcementsFailed: failed,
      resyncsServed: resyncs,
      resyncsAsked: this.#receiver.resyncs,
      claimsIgnored: this.#table.ignored,
      claimsDisproved: this.#claimsDisproved,
    }
  }

  #question(key: IndexKey, { signal }: { signal: AbortSignal }): RemoteQuestion {
    return {
      signal,
      scope: this.#announcer.scope,
      unheard: () => [...this.#members.values()].filter((peer) => !this.#receiver.isComplete(peer.id)),
      usable: (peers) => this.#usable(key, peers),
    }
  }

  #membership(event: OverlayEvent): void {
    if (event.type === 'joined') this.#members.set(event.peer.id, event.peer)
    else {
      this.#members.delete(event.peer.id)
      this.#receiver.drop(event.peer.id)
    }
    this.#announcer.membership(event)
  }

  /** Others, not us, and not what proved wrong. */
  #usable(key: IndexKey, peers: readonly Peer[]): readonly Peer[] {
    return peers.filter((peer) => peer.id !== this.#overlay.self.id && !this.#disproofs.has(key, peer.id))
  }

  /** Each once, where the overlay reaches it, in random order so that nobody is everybody's first choice. */
  #ordered(peers: readonly Peer[]): readonly Peer[] {
    const distinct = new Map(peers.map((peer) => [peer.id, this.#members.get(peer.id) ?? peer]))
    const order = shuffled([...distinct.values()])
    const isFailing = (peer: Peer): boolean => this.#health.isFailing(peer.id)
    return [...order.filter((peer) => !isFailing(peer)), ...order.filter(isFailing)]
  }
}
