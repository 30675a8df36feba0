import { z } from 'zod'

import type { Digest } from '../../oci/digest.ts'
import { second } from '../../time/units.ts'
import { digest } from '../codecs.ts'
import type { NodeContract } from '../node-contract.ts'

export interface VerifyRequest {
  readonly digest: Digest
  /** Whether the sender waits for the verdict, for {@link VERDICT_PATIENCE} at most. */
  readonly waits: boolean
}

export interface VerifyAnswer {
  /** Whether the node is going to hash its copy. */
  readonly accepted: boolean
  /** Absent if the sender does not wait, or the copy is not hashed in time. */
  readonly verdict?: 'sound' | 'damaged' | 'absent' | undefined
}

/** Time for which a node keeps a request open for the verdict: it hashes half a GiB in that time. */
export const VERDICT_PATIENCE = 4 * second

/** Asks another node to hash its copy of a blob. */
export const verify: NodeContract<VerifyRequest, VerifyAnswer> = {
  kind: 'verify',
  path: '/nabo/v1/verify',
  request: { schema: z.strictObject({ digest, waits: z.boolean().default(false) }), maxBytes: 1_024 },
  answer: {
    schema: z.strictObject({
      accepted: z.boolean(),
      verdict: z.enum(['sound', 'damaged', 'absent']).optional(),
    }),
    maxBytes: 1_024,
  },
}
