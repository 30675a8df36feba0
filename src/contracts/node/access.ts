import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import type { Repository } from '../../oci/reference.ts'
import { second } from '../../time/units.ts'
import { digest, repository } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

/** A question about a repository or one of its digests, or a result that the sender reports. */
export interface AccessMessage {
  readonly repository: Repository
  /** Result that the sender reports; absent in a question. */
  readonly found?: 'public' | 'closed' | undefined
  /** The manifest or blob to prove, if the question is about a single digest. */
  readonly content?: { readonly kind: 'manifests' | 'blobs'; readonly digest: Digest } | undefined
}

export interface AccessAnswer {
  /** Milliseconds since the registry's answer; undefined if the node knows of none. */
  readonly age: number | undefined
  /** The registry's answer about a single digest to an anonymous request; absent if the question was about the repository. */
  readonly word?: 'shown' | 'refused' | 'absent' | 'unknown' | undefined
}

const requestSchema: z.ZodType<AccessMessage> = z.strictObject({
  repository,
  found: z.enum(['public', 'closed']).optional(),
  content: z.strictObject({ kind: z.enum(['manifests', 'blobs']), digest }).optional(),
})

const answerSchema: z.ZodType<AccessAnswer> = z.codec(
  z.strictObject({
    ageSeconds: z.int().min(0).max(1e9).nullable(),
    word: z.enum(['shown', 'refused', 'absent', 'unknown']).optional(),
  }),
  z.custom<AccessAnswer>(),
  {
    decode: ({ ageSeconds, word }) => ({ age: ageSeconds === null ? undefined : ageSeconds * second, word }),
    encode: ({ age, word }) => ({ ageSeconds: age === undefined ? null : Math.ceil(age / second), word }),
  },
)

/** Exchanges what registries serve anonymously. */
export const access: NodeContract<AccessMessage, AccessAnswer> = {
  kind: 'access',
  path: '/nabo/v1/access',
  request: { schema: requestSchema, maxBytes: 1_024 },
  answer: { schema: answerSchema, maxBytes: 1_024 },
  // A stranger must not call a private repository public.
  needsSecret: true,
}
