import { z } from 'zod'

import type { QuotaView } from '../../upstream/quota/quota-view.ts'
import type { NodeContract } from '../node-contract.ts'

const amount = z.int().min(0).max(1e12)
const name = z.string().min(1).max(255)

/** The clocks of nodes differ, so times travel as ages. */
const quotaSchema: z.ZodType<QuotaView> = z.codec(
  z.strictObject({
    registry: name,
    host: name,
    source: name,
    limit: amount,
    remaining: amount,
    windowSeconds: amount,
    /** Milliseconds since the registry said so. */
    age: amount,
    /** Milliseconds until the window has ended at the latest. */
    endsIn: amount.optional(),
  }),
  z.custom<QuotaView>(),
  {
    decode: ({ age, endsIn, ...rest }) => {
      const now = Date.now()
      return { ...rest, asOf: now - age, ...(endsIn === undefined ? {} : { endsAt: now + endsIn }) }
    },
    encode: ({ asOf, endsAt, ...rest }) => {
      const now = Date.now()
      const age = Math.max(0, now - asOf)
      return { ...rest, age, ...(endsAt === undefined ? {} : { endsIn: Math.max(0, endsAt - now) }) }
    },
  },
)

/** Exchanges what two nodes know about one quota. */
export const quota: NodeContract<QuotaView, QuotaView> = {
  kind: 'quota',
  path: '/nabo/v1/quota',
  request: { schema: quotaSchema, maxBytes: 4_096 },
  answer: { schema: quotaSchema, maxBytes: 4_096 },
  // A stranger could say that a quota is used up, and this node would stop fetching.
  needsSecret: true,
}
