import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import { count, digest } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

/** What a node says about itself. */
export interface About {
  readonly version: string
  readonly zone?: string | undefined
  readonly ready: boolean
  /** Why the node's last request to the asking node failed, in a sentence; absent if it was answered, or if there was none. */
  readonly cannotReachYou?: string | undefined
  /** The node's fetches of the digests in the request; all of its fetches if the request names none. */
  readonly transfers: readonly AboutTransfer[]
}

export interface AboutTransfer {
  readonly digest: string
  /** The first byte that the node lacks. */
  readonly position: number
  /** Of the whole blob, in bytes. */
  readonly size?: number | undefined
  /** A peer's address, or a registry; absent while the node looks for a source. */
  readonly from?: string | undefined
}

const MAX_DIGESTS = 256
const MAX_TRANSFERS = 256
/** Of a sentence for the operator, in characters. */
const MAX_SENTENCE = 300

const transfer = z.object({
  digest: z.string().max(150),
  position: count,
  size: count.optional(),
  from: z.string().max(300).optional(),
})

const requestSchema: z.ZodType<readonly Digest[]> = z.codec(
  z.object({ digests: z.array(digest).max(MAX_DIGESTS) }),
  z.custom<readonly Digest[]>(),
  { decode: ({ digests }) => digests, encode: (digests) => ({ digests: digests.slice(0, MAX_DIGESTS) }) },
)

const aboutSchema: z.ZodType<About> = z.codec(
  // Later versions may say more.
  z.object({
    version: z.string().max(64),
    zone: z.string().max(255).optional(),
    ready: z.boolean(),
    cannotReachYou: z.string().optional(),
    transfers: z.array(transfer).max(MAX_TRANSFERS),
  }),
  z.custom<About>(),
  {
    decode: ({ cannotReachYou, ...sent }) => ({
      ...sent,
      ...(cannotReachYou === undefined ? {} : { cannotReachYou: cannotReachYou.slice(0, MAX_SENTENCE) }),
    }),
    encode: (about) => ({ ...about, transfers: about.transfers.slice(0, MAX_TRANSFERS) }),
  },
)

/** Asks another node for its version, zone, readiness and fetches. */
export const about: NodeContract<readonly Digest[], About> = {
  kind: 'about',
  path: '/nabo/v1/about',
  request: { schema: requestSchema, maxBytes: MAX_DIGESTS * 160 + 1_024 },
  answer: { schema: aboutSchema, maxBytes: 128 * 1_024 },
}
