import { z } from 'zod'

import { jsonCall } from '../admin-contract.ts'
import { list } from '../codecs.ts'
import { finding, findingLevel } from './finding.ts'

const schema = z.object({
  /** Absent before the first checks are done. */
  checkedAt: z.iso.datetime().optional(),
  level: findingLevel,
  findings: list(finding),
})

export type ChecksAnswer = z.infer<typeof schema>

export const checks = jsonCall({
  method: 'GET',
  path: '/api/v1/checks',
  summary: 'The findings of the checks of this node, at most ten seconds old.',
  audience: 'anyone',
  answer: schema,
  errors: [],
})
