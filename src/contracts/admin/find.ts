import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'

const peer = z.object({ id: z.string(), address: z.string() })

const content = z.object({
  kind: z.enum(['index', 'manifest', 'config', 'layer', 'blob']),
  digest: z.string(),
  size: count.optional(),
  mediaType: z.string().optional(),
  /** Whether this node holds it; absent if its store cannot be read. */
  here: z.boolean().optional(),
  /** Other nodes that hold it. */
  holders: list(peer),
  /** false: there may be more holders, since a node that could know one did not answer. */
  complete: z.boolean(),
  /** Nodes that are fetching it. */
  arriving: list(
    z.object({
      address: z.string(),
      self: z.boolean(),
      position: count,
      size: count.optional(),
      /** A peer's address or a registry. */
      from: z.string().optional(),
    }),
  ),
})

const schema = z.object({
  /** In full: `docker.io/library/alpine:latest`, or the digest of the request. */
  reference: z.string(),
  digest: z.string().optional(),
  /** Who resolved the tag, and when its registry last answered for it, in milliseconds since the epoch. */
  resolved: z
    .object({ source: z.enum(['local', 'peer', 'upstream']), peer: z.string().optional(), asOf: count })
    .optional(),
  platform: z.string().optional(),
  contents: list(content),
  /** Of all contents, as far as their sizes are known. */
  bytes: count,
  /** Nodes that did not say what they fetch. */
  silent: count,
  /** Why this is not all there is to know. */
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
