import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { list } from '../codecs.ts'

const answer = z.object({
  /** Relative paths among the flags start here. */
  workingDirectory: z.string(),
  /** The values of the flags and variables that the daemon was started with, as they were written, by flag. */
  flags: z.record(z.string(), list(z.string())),
})

export type SettingsAnswer = z.infer<typeof answer>

export const settings = jsonCall({
  method: 'GET',
  path: '/api/v1/settings',
  summary: 'The flags that the daemon was started with.',
  audience: 'operator',
  answer,
  errors: [],
})
