import type { KadId } from '../overlay/distance.ts'
import type { IndexKey, Peer } from '../overlay/overlay.ts'
import { second } from '../time/units.ts'

/** What the swarm knows from the rest of this node. */
export interface SwarmOptions {
  /** How many nodes answer for a key: the closest, and those that stand in for it. */
  readonly replicas: number
  readonly treeChildren: number
  readonly zone: string | undefined
  /** Complete holders by this node's part of the index, this node among them if it is one. */
  readonly holders: (key: IndexKey) => readonly Peer[]
  /** A claim of the index proved wrong. */
  readonly disprove: (key: IndexKey, peer: Peer) => void
  /** Blobs that this node sends now, and how many it would. */
  readonly load: () => { readonly sending: number; readonly capacity: number }
  /** How fast a registry sent to this node lately, in bytes a second; undefined if nothing came from it. */
  readonly upstreamRate: (registry: string) => number | undefined
  /** Where the overlay places a peer. Without it any node that left counts as one that was closer to every key. */
  readonly kadId?: ((peerId: string) => KadId) | undefined
  /** The clock of leases and members, in milliseconds. */
  readonly now?: () => number
}

/** How long things take, in milliseconds. */
export interface SwarmTimings {
  /** How long one coordinator is waited for. */
  readonly attemptTimeout: number
  /** After so long without an answer the next coordinator is asked as well. Longer than `hold`. */
  readonly hedgeDelay: number
  /** How long one that stands in waits for the one that it stands in for. Longer than `forwardedHold`. */
  readonly forwardTimeout: number
  /** How long a question takes when nobody answers it. */
  readonly silenceLimit: number
  /** How long a question takes while a coordinator asks for patience. */
  readonly patience: number
  /** The same with a coordinator that used up the patience a moment ago. */
  readonly shortPatience: number
  /** A coordinator that answers nothing for so long counts as dead, although its connections hold: the next one sends a node upstream. */
  readonly standInAfter: number
  /** How long a coordinator keeps a question open before it asks for patience. */
  readonly hold: number
  readonly forwardedHold: number
  /** How long after its start, or after a closer node was lost, a coordinator lets running transfers report first. */
  readonly grace: number
  /** The longest pause before the next coordinator is tried, so that not all come at once. */
  readonly jitter: number
  readonly reportInterval: number
  readonly reportTimeout: number
  /** How long changes are gathered before they are reported. */
  readonly reportDelay: number
  /** How long a coordinator that failed is asked last. */
  readonly failureMemory: number
  /** How long it is remembered who coordinates a key while no member comes or goes. */
  readonly ranksMemory: number
}

export const SWARM_TIMINGS: SwarmTimings = {
  // The others are asked meanwhile; a node without CPU time takes some seconds.
  attemptTimeout: 4.5 * second,
  // Of two frozen coordinators in a row the third one is asked at 1.4 s.
  hedgeDelay: 700,
  forwardTimeout: 500,
  silenceLimit: 6 * second,
  // Longer than the first question to a coordinator that is frozen.
  patience: 7 * second,
  shortPatience: 500,
  // Below `attemptTimeout`: then the next one stands in after one question, within the patience.
  standInAfter: 4 * second,
  hold: 450,
  forwardedHold: 300,
  grace: 1.5 * second,
  jitter: 30,
  reportInterval: 1 * second,
  reportTimeout: 1 * second,
  reportDelay: 5,
  failureMemory: 10 * second,
  ranksMemory: 5 * second,
}
