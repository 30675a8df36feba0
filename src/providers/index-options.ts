import { minute, second } from '../time/units.ts'

/** How the index behaves. Times are in milliseconds. */
export interface IndexOptions {
  /** How many nodes keep a key once the cluster is too large for everybody to keep everything. */
  readonly replicas: number
  /** Up to this many members, this node included, everybody keeps everything. */
  readonly replicateAll: number
  /** How long a claim outlives the last word of the peer that made it. */
  readonly ttl: number
  /** How long changes are gathered before they are sent. */
  readonly batchDelay: number
  /** How many keys one announcement carries at most. */
  readonly batchKeys: number
  /** How long a peer may take to accept an announcement. */
  readonly sendTimeout: number
  /** The first pause after an announcement failed; it doubles up to a third of the ttl. */
  readonly retryDelay: number
  /** How long members that have not told us everything yet are waited for. */
  readonly freshDeadline: number
  /** How long the nodes that keep a key are waited for. */
  readonly lookupDeadline: number
  /** How long after members came or went the keys are placed anew. */
  readonly replaceDelay: number
  /** How often they are placed anew without a cause, in case one was missed. */
  readonly replaceInterval: number
  /** How long a peer that failed is asked last, or not at all. */
  readonly failureMemory: number
  /** How long a claim that proved wrong is not believed again. */
  readonly disproofMemory: number
  /** Claims of all other nodes together; further ones are ignored. */
  readonly maxClaims: number
  /** Claims of one node. */
  readonly maxClaimsPerPeer: number
  /** Claims of all nodes whose connections come from one IP address. */
  readonly maxClaimsPerAddress: number
  /** Called for each claim that is ignored because of these limits, with the address of the connection that it came by. */
  readonly onIgnored?: ((remoteAddress: string) => void) | undefined
}

export const INDEX_DEFAULTS: IndexOptions = {
  replicas: 3,
  // Local reads beat asking by far, and at 40 nodes the renewals still cost next to nothing: two a second each way.
  replicateAll: 40,
  ttl: 1 * minute,
  batchDelay: 30,
  // About 210 KB as JSON: some 3 ms of work on either side, short enough between other requests.
  batchKeys: 5_000,
  sendTimeout: 5 * second,
  retryDelay: 250,
  freshDeadline: 500,
  lookupDeadline: 1 * second,
  replaceDelay: 1 * second,
  replaceInterval: 5 * minute,
  failureMemory: 5 * second,
  disproofMemory: 5 * second,
  // Some 110 bytes for each key that has one holder, 8 for each further holder: 220 MB at worst, and 44 MB from one machine. A node has some
  // 5,000 keys, so 40 nodes behind one address fit, and so do nodes with ten times as many.
  maxClaims: 2_000_000,
  maxClaimsPerPeer: 200_000,
  maxClaimsPerAddress: 400_000,
}
