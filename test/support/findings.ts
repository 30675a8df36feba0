import { z } from 'zod'

/** What `nabo doctor --json` and the admin API say of a node, or of a peer. */
export const findingsSchema = z.object({
  findings: z.array(
    z.object({
      id: z.string(),
      level: z.string(),
      says: z.string(),
      fix: z.string().optional(),
      seenBy: z.array(z.string()).optional(),
    }),
  ),
})

export type Findings = z.infer<typeof findingsSchema>['findings']
