import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'

const peer = z.object({
  id: z.string(),
  address: z.string(),
  /** It has acknowledged all that it is to know of this node; absent if it is to know nothing. */
  knowsUs: z.boolean().optional(),
  /** All that it holds and this node is to know is known here. */
  isHeard: z.boolean(),
  /** A message to it failed a moment ago. */
  isFailing: z.boolean(),
  /** Its answer to a question just now. `refused`: the peer is of an older version, or has another secret. */
  answer: z.enum(['ok', 'refused', 'none']),
  version: z.string().optional(),
  zone: z.string().optional(),
  ready: z.boolean().optional(),
  /** Blobs that it fetches now. */
  transfers: count.optional(),
  /** From the question to its answer. */
  roundTripMs: z.number().optional(),
})

export type PeerAnswer = z.infer<typeof peer>

/** `nabo peers --json` prints it. */
export const peers = jsonCall({
  method: 'GET',
  path: '/api/v1/peers',
  summary: 'The other nodes: what this node knows of each, and what each says about itself now.',
  audience: 'anyone',
  answer: z.object({ peers: list(peer) }),
  errors: [],
})
