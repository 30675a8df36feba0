/** Who is in the cluster, and who is closest to a key. Every adapter passes the conformance suite in `test/overlay`. */
export interface Overlay {
  /** This node; its address is what peers are told. */
  readonly self: Peer
  /** Joins the cluster. Returns once listening; peers are found in the background, for ever. */
  start(): Promise<void>
  stop(): Promise<void>
  /** The peers believed alive now, without this node. */
  peers(): readonly Peer[]
  /** The `count` live nodes XOR-closest to a key, nearest first, this node among them if it belongs there. */
  closest(key: IndexKey, count: number, options: { signal: AbortSignal }): Promise<readonly Peer[]>
  /** Tells of peers that come and go. Returns its own end. */
  subscribe(listener: (event: OverlayEvent) => void): () => void
}

/** A member of the cluster. */
export interface Peer {
  /** Its libp2p peer id. */
  readonly id: string
  /** Where its peer listener is: `10.0.0.7:7951`, `[fd00::7]:7951`. */
  readonly address: string
}

export type OverlayEvent = { readonly type: 'joined' | 'left'; readonly peer: Peer }

declare const brand: unique symbol

/** What providers are looked up by: 32 bytes as 64 lower-case hex digits. `providers/index-key.ts` makes it. */
export type IndexKey = string & { readonly [brand]: 'IndexKey' }
