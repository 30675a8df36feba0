import { z } from 'zod'

import { type ImageReference, parseImageReference } from '../../oci/reference.ts'
import { WARM_STATES, type WarmStatus, type WarmWish, formatReference } from '../../warm/messages.ts'
import { cutText, digest, platform, textCodec } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

export const MAX_REFERENCE_LENGTH = 512
export const MAX_ZONES = 32
const MAX_MESSAGE_LENGTH = 1_000

export const zone = z.string().min(1).max(128)
/** As in containerd: https://github.com/containerd/containerd/blob/main/pkg/identifiers/validate.go */
export const namespace = z
  .string()
  .max(76)
  .regex(/^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/)

/** With a tag, a digest or both. */
const reference = textCodec<ImageReference>(
  z.string().max(MAX_REFERENCE_LENGTH),
  parseFullReference,
  formatReference,
  'is not a reference with a tag or a digest',
)

const wishSchema: z.ZodType<WarmWish> = z.codec(
  z.strictObject({
    ticket: z.uuid(),
    reference,
    digest: digest.optional(),
    platform: platform.optional(),
    namespace: namespace.optional(),
    zones: z.array(zone).max(MAX_ZONES).optional(),
    cancel: z.boolean().optional(),
  }),
  z.custom<WarmWish>(),
  {
    decode: ({ ticket, zones, cancel, reference, digest, platform, namespace }) => ({
      ticket,
      zones,
      cancel,
      order: { reference, digest, platform, namespace },
    }),
    encode: ({ ticket, order, zones, cancel }) => ({ ticket, ...order, zones: zones && [...zones], cancel }),
  },
)

const bytes = z.int().min(0).max(1e15)
const statusSchema: z.ZodType<WarmStatus> = z.strictObject({
  state: z.enum(WARM_STATES),
  zone: z.string().max(256).optional(),
  bytes: bytes.optional(),
  total: bytes.optional(),
  seconds: z.number().min(0).max(1e9).optional(),
  fromPeers: bytes.optional(),
  fromUpstream: bytes.optional(),
  message: cutText(MAX_MESSAGE_LENGTH).optional(),
})

/** Has another node pull an image, asks for its progress, or takes the order back. */
export const warm: NodeContract<WarmWish, WarmStatus> = {
  kind: 'warm',
  path: '/nabo/v1/warm',
  request: { schema: wishSchema, maxBytes: 8_192 },
  answer: { schema: statusSchema, maxBytes: 8_192 },
  // A stranger could have nodes pull anything.
  needsSecret: true,
}

function parseFullReference(text: string): ImageReference | undefined {
  const parsed = parseImageReference(text)
  return parsed?.tag === undefined && parsed?.digest === undefined ? undefined : parsed
}
