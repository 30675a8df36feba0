import { z } from 'zod'

import { jsonCall, textCall } from '../admin-contract.ts'
import { list } from '../codecs.ts'

const readiness = z.object({
  ready: z.boolean(),
  /** Why the node is not ready. */
  reasons: list(z.string()),
  /** Findings of the node's checks that do not make it unready. */
  warnings: list(z.string()),
})

const query = z.object({
  /** `ok`: that the node is stopping is no reason. The kubelet probes a pod until its end, and would report each answer of 503 as a warning. */
  stopping: z.literal('ok').optional(),
})

export const livez = jsonCall({
  method: 'GET',
  path: '/livez',
  summary: 'Whether the process is alive.',
  audience: 'anyone',
  answer: z.object({ alive: z.literal(true) }),
  errors: [],
})

export const readyz = jsonCall({
  method: 'GET',
  path: '/readyz',
  summary: 'Whether the node can do its work: 200, or 503 with the reasons.',
  audience: 'anyone',
  query,
  answer: readiness,
  statuses: { all: [200, 503], of: ({ ready }) => (ready ? 200 : 503) },
  errors: [],
})

export const metrics = textCall({
  method: 'GET',
  path: '/metrics',
  summary: 'Metrics in the text format of Prometheus.',
  audience: 'anyone',
  errors: [],
})
