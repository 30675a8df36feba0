import { z } from 'zod'

import { linesCall } from '../admin-contract.ts'
import { count, platform } from '../codecs.ts'
import { MAX_REFERENCE_LENGTH, MAX_ZONES, namespace, zone } from '../node/warm.ts'

const MAX_NODES = 1_000

const order = z.strictObject({
  reference: z.string().max(MAX_REFERENCE_LENGTH),
  /** The node's own if absent. */
  platform: platform.optional(),
  /** Of containerd; `k8s.io` if absent. */
  namespace: namespace.optional(),
  zones: z.array(zone).min(1).max(MAX_ZONES).optional(),
  /** Addresses, ids or `self`; all nodes if absent. */
  nodes: z.array(z.string().min(1).max(300)).min(1).max(MAX_NODES).optional(),
  /** Nodes at a time; all at once if absent. */
  parallel: z.int().min(1).max(100_000).optional(),
})

const node = z.object({
  type: z.literal('node'),
  node: z.string(),
  address: z.string(),
  state: z.enum(['queued', 'pulling', 'done', 'failed', 'unsupported', 'cancelled', 'unreachable']),
  zone: z.string().optional(),
  bytes: count.optional(),
  total: count.optional(),
  seconds: z.number().optional(),
  fromPeers: count.optional(),
  fromUpstream: count.optional(),
  message: z.string().optional(),
})

const line = z.discriminatedUnion('type', [
  z.object({ type: z.literal('started'), reference: z.string(), digest: z.string() }),
  node,
  /** Every three seconds: the daemon is alive. */
  z.object({ type: z.literal('waiting') }),
  z.object({ type: z.literal('summary'), nodes: count, done: count, failed: count }),
])

export type WarmCommand = z.infer<typeof order>
/** The progress of one node. */
export type WarmNodeLine = z.infer<typeof node>

/** When the client closes the connection, the daemon takes the order back; a pull that another order wants goes on. */
export const warm = linesCall({
  method: 'POST',
  path: '/api/v1/warm',
  summary: 'Has nodes pull an image, and answers with a line of JSON for each change until all have ended.',
  audience: 'operator',
  body: { schema: order, maxBytes: 512 * 1_024 },
  line,
  errors: ['UNSUPPORTED', 'NAME_UNKNOWN', 'MANIFEST_UNKNOWN', 'DENIED', 'UNAVAILABLE'],
})
