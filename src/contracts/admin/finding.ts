import { z } from 'zod'

import { list } from '../codecs.ts'

export const findingLevel = z.enum(['ok', 'warning', 'error', 'unknown'])

/** What a check found. */
export const finding = z.object({
  /** The check. */
  id: z.string(),
  /** What the check looks at. */
  title: z.string(),
  level: findingLevel,
  /** One sentence: what is the case, and why. */
  says: z.string(),
  /** What to change: a command, or a line and its file. */
  fix: z.string().optional(),
  /** Addresses of the other nodes that report it; absent if this node has found it out itself. */
  seenBy: list(z.string()).optional(),
})
