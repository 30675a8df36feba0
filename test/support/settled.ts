import { z } from 'zod'

import type { NaboProcess } from './nabo-process.ts'
import { eventually } from './poll.ts'

const statusSchema = z.object({
  peers: z.number(),
  index: z.object({ ownKeys: z.number(), claims: z.number() }),
})

/**
 * Waits until every daemon sees all the others and knows all that they announce. `ownKeys` says for each daemon how many keys it must
 * announce at least: a pulled image has one for each manifest, config and layer, and one for its tag.
 */
export async function settled(nabos: readonly NaboProcess[], ownKeys: readonly number[] = []): Promise<void> {
  await eventually('all nodes know all that there is', async () => {
    const all = await Promise.all(nabos.map(readStatus))
    const total = all.reduce((sum, { index }) => sum + index.ownKeys, 0)
    return all.every(({ peers, index }, i) => {
      const knowsOthers = index.claims === total - index.ownKeys
      return peers === nabos.length - 1 && knowsOthers && index.ownKeys >= (ownKeys[i] ?? 0)
    })
  })
}

async function readStatus(nabo: NaboProcess): Promise<z.infer<typeof statusSchema>> {
  const { body } = await nabo.adminGet('/api/v1/status')
  return statusSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')))
}
