import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'
import { finding } from './finding.ts'
import { quotaSchema } from './quota.ts'
import { refusedNode } from './refused-node.ts'

const addresses = list(z.string())

const index = z.object({
  scope: z.enum(['all', 'placed']),
  ownKeys: count,
  claims: count,
  claimedKeys: count,
  members: count,
  membersHeard: count,
  peersFed: count,
  peersInSync: count,
  announcementsSent: count,
  announcementsFailed: count,
  resyncsServed: count,
  resyncsAsked: count,
  claimsIgnored: count,
  claimsDisproved: count,
})

const swarm = z.object({
  items: count,
  members: count,
  leases: count,
  /** Since the start, like those that follow. */
  leasesGranted: count,
  leasesMoved: count,
  overflows: count,
  participations: count,
  questions: count,
  unanswered: count,
  forwarded: count,
  reportsSent: count,
  reportsFailed: count,
  recalls: count,
})

const credentialTrouble = z.discriminatedUnion('type', [
  z.object({ type: z.literal('refused'), registry: z.string(), address: z.string(), account: z.string() }),
  z.object({
    type: z.literal('withheld'),
    registry: z.string(),
    address: z.string(),
    tokenServer: z.string(),
    flag: z.string(),
  }),
  z.object({ type: z.literal('program'), program: z.string(), reason: z.string() }),
  z.object({ type: z.literal('file'), reason: z.string() }),
])

const transfer = z.object({
  digest: z.string(),
  repository: z.string().optional(),
  since: z.iso.datetime(),
  /** The first byte that is missing. */
  position: count,
  size: count.optional(),
  source: z.object({ kind: z.enum(['peer', 'upstream']), name: z.string() }).optional(),
})

const schema = z.object({
  version: z.string(),
  startedAt: z.iso.datetime(),
  self: z.object({ id: z.string(), address: z.string() }),
  zone: z.string().optional(),
  ready: z.boolean(),
  /** Why the node is not ready. */
  reasons: list(z.string()),
  /** Warnings and errors of the last checks of this node. `/api/v1/checks` has all findings. */
  findings: list(finding),
  hasSecret: z.boolean(),
  store: z.enum(['containerd', 'directory']),
  blobs: count,
  content: z.object({ place: z.string(), bytes: count, maxBytes: count.optional() }),
  mirror: addresses,
  peer: addresses,
  router: addresses,
  admin: addresses,
  /** Path of the Unix socket; absent without one. */
  adminSocket: z.string().optional(),
  metrics: addresses,
  /** The images that the flags leave to this node. Socket only: patterns may name private images. */
  mirrored: z
    .object({
      /** `all`, `none`, or registries. */
      registries: z.union([z.enum(['all', 'none']), list(z.string())]),
      include: list(z.string()),
      exclude: list(z.string()),
    })
    .optional(),
  /** Other nodes that are believed alive. */
  peers: count,
  /** Nodes of Nabo that could not join in the last minutes. */
  refusedNodes: list(refusedNode),
  /** What the last requests have shown: failures of this node's own credentials, and token servers that it sends no credentials. Without account names on TCP. */
  credentialTroubles: list(credentialTrouble),
  index,
  swarm,
  transferCount: count,
  /** Blobs on their way to this node, the longest running first, 100 at most. On TCP only those of public repositories. */
  transfers: list(transfer),
  quotas: list(quotaSchema),
  /** Content bytes since the start: to clients of this node by their source, and to other nodes. */
  delivered: z.object({ local: count, peer: count, upstream: count, toPeers: count }),
})

export type StatusAnswer = z.infer<typeof schema>

/** Sizes are in bytes, times are ISO 8601. `nabo status --json` prints it. */
export const status = jsonCall({
  method: 'GET',
  path: '/api/v1/status',
  summary: 'What this node is and does.',
  audience: 'anyone',
  answer: schema,
  errors: [],
})
