import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'

const peer = z.object({ id: z.string(), address: z.string() })

const content = z.object({
  kind: z.enum(['index', 'manifest', 'config', 'layer', 'blob']),
  digest: z.string(),
  size: count.optional(),
  mediaType: z.string().optional(),
  /** Whether this node holds the content; absent if its store cannot be read. */
  here: z.boolean().optional(),
  /** Other nodes that hold it. */
  holders: list(peer),
  /** False if a node that could know another holder did not answer. */
  complete: z.boolean(),
  /** Nodes that fetch the content now. */
  arriving: list(
    z.object({
      address: z.string(),
      self: z.boolean(),
      position: count,
      size: count.optional(),
      /** The source: a peer's address or a registry. */
      from: z.string().optional(),
    }),
  ),
})

const schema = z.object({
  /** In full: `docker.io/library/alpine:latest`, or the digest of the request. */
  reference: z.string(),
  digest: z.string().optional(),
  /** The source of the tag's digest, and when its registry last confirmed the tag, in milliseconds since the epoch. */
  resolved: z
    .object({ source: z.enum(['local', 'peer', 'upstream']), peer: z.string().optional(), asOf: count })
    .optional(),
  platform: z.string().optional(),
  contents: list(content),
  /** Sum of the known sizes of the contents. */
  bytes: count,
  /** Nodes that did not answer which blobs they fetch. */
  silent: count,
  /** Why the answer is incomplete. */
  problem: z.string().optional(),
})

const query = z.object({
  /** `alpine`, `ghcr.io/org/app:1`, or a digest. */
  reference: z.string().default(''),
  platform: z.string().optional(),
  /** `true`: ask the registry for a manifest that no node holds, which it may count as a pull. Socket only. */
  upstream: z.string().optional(),
})

export type FindQuery = z.infer<typeof query>
export type FindAnswer = z.infer<typeof schema>
export type FoundContentAnswer = z.infer<typeof content>

/** Sizes are in bytes. `nabo find --json` prints it. */
export const find = jsonCall({
  method: 'GET',
  path: '/api/v1/find',
  summary: 'Which nodes hold an image or a digest. On TCP only images that their registry shows to everybody.',
  audience: 'anyone',
  query,
  answer: schema,
  errors: ['NAME_INVALID', 'NAME_UNKNOWN', 'MANIFEST_UNKNOWN', 'DENIED', 'UNAVAILABLE'],
})
