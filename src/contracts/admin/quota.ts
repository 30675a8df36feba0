import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { count, list } from '../codecs.ts'

/** What is left of one registry's quota. */
export const quotaSchema = z.object({
  registry: z.string(),
  /** The registry's address that counts. */
  host: z.string(),
  /** The address or account that the registry counts for. */
  source: z.string(),
  limit: count,
  remaining: count,
  /** 0 if the registry does not say. */
  windowSeconds: count,
  asOf: z.iso.datetime(),
  /** The latest end of the window. */
  endsAt: z.iso.datetime().optional(),
})

export type QuotaAnswer = z.infer<typeof quotaSchema>

export const quotas = jsonCall({
  method: 'GET',
  path: '/api/v1/quota',
  summary: 'What is left of the quotas that count for this node, the one with the least left first.',
  audience: 'anyone',
  answer: z.object({ quotas: list(quotaSchema) }),
  errors: [],
})
