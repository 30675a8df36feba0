import { z } from 'zod'

/** A node of Nabo that could not join in the last minutes, and what differs: its cluster secret, or its version of the protocol. */
export const refusedNode = z.object({ host: z.string(), mismatch: z.enum(['secret', 'version']) })

export type RefusedNodeAnswer = z.infer<typeof refusedNode>
