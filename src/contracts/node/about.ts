import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import { count, cutText, digest } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

/** What a node says about itself. */
export interface About {
  readonly version: string
  readonly zone?: string | undefined
  readonly ready: boolean
  /** Why the node's last request to the asking node failed, in a sentence; absent if it was answered, or if there was none. */
  readonly cannotReachYou?: string | undefined
  /** Milliseconds since the epoch by the node's clock; absent in answers of older versions. */
  readonly time?: number | undefined
  /** The warnings and errors of the node's last checks of itself, 8 at most, without account names; absent in answers of older versions. */
  readonly findings?: readonly ToldFinding[] | undefined
  /** The node's fetches of the digests in the request; all of its fetches if the request names none. */
  readonly transfers: readonly AboutTransfer[]
}

/** A finding that another node reports about itself. It may be invented. */
export interface ToldFinding {
  readonly id: string
  readonly title: string
  readonly level: 'warning' | 'error'
  readonly says: string
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
const MAX_FINDINGS = 8
/** Of a sentence for the operator, in characters. */
const MAX_SENTENCE = 300

const transfer = z.object({
  digest: z.string().max(150),
  position: count,
  size: count.optional(),
  from: z.string().max(300).optional(),
})

const finding = z.object({
  id: z.string().max(64),
  title: z.string().max(64),
  level: z.enum(['warning', 'error']),
  says: cutText(MAX_SENTENCE),
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
    time: count.optional(),
    findings: z.array(finding).max(MAX_FINDINGS).optional(),
    transfers: z.array(transfer).max(MAX_TRANSFERS),
  }),
  z.custom<About>(),
  {
    decode: ({ cannotReachYou, ...sent }) => ({
      ...sent,
      ...(cannotReachYou === undefined ? {} : { cannotReachYou: cannotReachYou.slice(0, MAX_SENTENCE) }),
    }),
    encode: (about) => ({
      ...about,
      findings: about.findings?.slice(0, MAX_FINDINGS),
      transfers: about.transfers.slice(0, MAX_TRANSFERS),
    }),
  },
)

/** Asks another node for its version, zone, readiness, clock, findings and fetches. */
export const about: NodeContract<readonly Digest[], About> = {
  kind: 'about',
  path: '/nabo/v1/about',
  request: { schema: requestSchema, maxBytes: MAX_DIGESTS * 160 + 1_024 },
  answer: { schema: aboutSchema, maxBytes: 144 * 1_024 },
}
