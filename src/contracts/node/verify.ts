import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import { digest } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

export interface VerifyRequest {
  readonly digest: Digest
}

export interface VerifyAnswer {
  /** Whether the node is going to hash its copy. It does not tell the result: the sender of wrong bytes would say that they are right. */
  readonly accepted: boolean
}

/** Asks another node to hash its copy of a blob. */
export const verify: NodeContract<VerifyRequest, VerifyAnswer> = {
  kind: 'verify',
  path: '/nabo/v1/verify',
  request: { schema: z.strictObject({ digest }), maxBytes: 1_024 },
  answer: { schema: z.strictObject({ accepted: z.boolean() }), maxBytes: 1_024 },
}
