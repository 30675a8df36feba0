import type { PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

import type { KadId } from '../distance.ts'
import type { OverlayEvent, Peer } from '../overlay.ts'

/** A node of the cluster that is connected now. */
export interface Member {
  readonly peer: Peer
  readonly peerId: PeerId
  readonly kadId: KadId
  /** Where others can dial it, best first. */
  readonly routers: readonly Multiaddr[]
}

/** Who is connected, and who wants to know. */
export class MemberTable {
  readonly #members = new Map<string, Member>()
  readonly #listeners = new Set<(event: OverlayEvent) => void>()
  #peers: readonly Peer[] | undefined

  get size(): number {
    return this.#members.size
  }

  list(): Iterable<Member> {
    return this.#members.values()
  }

  peers(): readonly Peer[] {
    this.#peers ??= [...this.#members.values()].map((member) => member.peer)
    return this.#peers
  }

  get(id: string): Member | undefined {
    return this.#members.get(id)
  }

  /** Takes a member in; one that comes back with another address has left and joined. */
  put(member: Member): void {
    const { id, address } = member.peer
    const known = this.#members.get(id)
    if (known !== undefined && known.peer.address !== address) this.remove(id)
    this.#members.set(id, known?.peer.address === address ? { ...member, peer: known.peer } : member)
    if (known?.peer.address === address) return
    this.#peers = undefined
    this.#emit({ type: 'joined', peer: member.peer })
  }

  remove(id: string): Member | undefined {
    const member = this.#members.get(id)
    if (member === undefined) return undefined
    this.#members.delete(id)
    this.#peers = undefined
    this.#emit({ type: 'left', peer: member.peer })
    return member
  }

  subscribe(listener: (event: OverlayEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #emit(event: OverlayEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}
