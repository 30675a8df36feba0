import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'
import { finding } from './finding.ts'
import { refusedNode } from './refused-node.ts'

const peer = z.object({
  id: z.string(),
  address: z.string(),
  /** Whether the peer has acknowledged every claim that this node sends it; absent if this node sends it none. */
  knowsUs: z.boolean().optional(),
  /** Whether this node has received every claim that the peer sends it. */
  isHeard: z.boolean(),
  /** Whether a message to the peer failed lately. */
  isFailing: z.boolean(),
  /** Its answer to this node's `about` message. `refused`: the peer is of an older version, or has another secret. */
  answer: z.enum(['ok', 'refused', 'none']),
  /** Whether this node asked the peer; false if the time for all peers was over before. */
  wasAsked: z.boolean().optional(),
  /** Why it gave no answer, in a sentence. */
  failure: z.string().optional(),
  /** Why the peer cannot reach this node at the address that this node announces, in the peer's words. */
  cannotReachUs: z.string().optional(),
  /** Milliseconds by which the peer's clock is ahead of this node's. */
  clockAheadMs: z.number().optional(),
  /** What is wrong with the peer, or between it and this node, the worst first; what the peer reports about itself has its address in `seenBy`. */
  findings: list(finding),
  version: z.string().optional(),
  zone: z.string().optional(),
  ready: z.boolean().optional(),
  /** Blobs that the peer fetches now. */
  transfers: count.optional(),
  /** Milliseconds from the `about` message to its answer. */
  roundTripMs: z.number().optional(),
})

export type PeerAnswer = z.infer<typeof peer>

/** `nabo peers --json` prints it. */
export const peers = jsonCall({
  method: 'GET',
  path: '/api/v1/peers',
  summary:
    'The other nodes: what this node knows of each, and what each says about itself now; and the nodes that could not join.',
  audience: 'anyone',
  answer: z.object({ peers: list(peer), refusedNodes: list(refusedNode) }),
  errors: [],
})
