import { closestTo, type KadId, kadIdOf } from '../../src/overlay/distance.ts'
import type { IndexKey, Overlay, OverlayEvent, Peer } from '../../src/overlay/overlay.ts'

/** A network in memory. Its overlays see each other the moment they start, unless a partition lies between them. */
export class FakeCluster {
  readonly #members = new Set<FakeOverlay>()
  #group: (id: string) => number = () => 0
  #count = 0

  /** A new overlay, not yet started. `address` is what the others are told; made up if it is not given. */
  overlay(options: { id?: string; address?: string } = {}): FakeOverlay {
    const n = this.#count++
    return new FakeOverlay(this, {
      id: options.id ?? `fake-${n}`,
      address: options.address ?? `10.0.${n >> 8}.${n & 255}:7951`,
    })
  }

  /** Cuts the network in two: these, and all the others. */
  partition(side: readonly Overlay[]): void {
    const ids = new Set(side.map((overlay) => overlay.self.id))
    this.#regroup((id) => (ids.has(id) ? 1 : 0))
  }

  heal(): void {
    this.#regroup(() => 0)
  }

  /** Called by overlays as they start, stop and die. */
  enter(overlay: FakeOverlay): void {
    this.#members.add(overlay)
    this.#refresh()
  }

  leave(overlay: FakeOverlay): void {
    this.#members.delete(overlay)
    this.#refresh()
  }

  #regroup(group: (id: string) => number): void {
    this.#group = group
    this.#refresh()
  }

  #refresh(): void {
    for (const overlay of this.#members) {
      const group = this.#group(overlay.self.id)
      const visible = [...this.#members].filter((other) => other !== overlay && this.#group(other.self.id) === group)
      overlay.see(visible.map((other) => other.self))
    }
  }
}

/** An overlay of a {@link FakeCluster}. Knows everybody, like the real one in a cluster of up to some hundreds. */
export class FakeOverlay implements Overlay {
  readonly self: Peer
  readonly #cluster: FakeCluster
  readonly #peers = new Map<string, Peer>()
  readonly #kadIds = new Map<string, KadId>()
  readonly #listeners = new Set<(event: OverlayEvent) => void>()

  constructor(cluster: FakeCluster, self: Peer) {
    this.#cluster = cluster
    this.self = self
  }

  async start(): Promise<void> {
    this.#cluster.enter(this)
  }

  async stop(): Promise<void> {
    this.#cluster.leave(this)
    this.see([])
  }

  /** Vanishes without a word, and tells no listener of its own. */
  kill(): void {
    this.#listeners.clear()
    this.#cluster.leave(this)
  }

  peers(): readonly Peer[] {
    return [...this.#peers.values()]
  }

  async closest(key: IndexKey, count: number, options: { signal: AbortSignal }): Promise<readonly Peer[]> {
    options.signal.throwIfAborted()
    const nodes = [this.self, ...this.#peers.values()].map((peer) => ({ peer, kadId: this.#kadId(peer.id) }))
    return closestTo(kadIdOf(Buffer.from(key, 'hex')), nodes, count).map((node) => node.peer)
  }

  subscribe(listener: (event: OverlayEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Called by the cluster with everybody that this overlay can reach. */
  see(visible: readonly Peer[]): void {
    const ids = new Set(visible.map((peer) => peer.id))
    const left = this.peers().filter((peer) => !ids.has(peer.id))
    const joined = visible.filter((peer) => !this.#peers.has(peer.id))
    for (const peer of left) this.#peers.delete(peer.id)
    for (const peer of joined) this.#peers.set(peer.id, peer)
    for (const peer of left) this.#emit({ type: 'left', peer })
    for (const peer of joined) this.#emit({ type: 'joined', peer })
  }

  #emit(event: OverlayEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  #kadId(id: string): KadId {
    const known = this.#kadIds.get(id) ?? kadIdOf(Buffer.from(id))
    this.#kadIds.set(id, known)
    return known
  }
}
