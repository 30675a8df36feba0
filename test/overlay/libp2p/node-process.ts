/**
 * One overlay node in a process of its own, to be killed or frozen by its parent. Takes its options as JSON in the first
 * argument; tells its parent `{type: 'ready', id, routers}`, answers `peers` with `{type: 'peers', ids}`.
 */
import { z } from 'zod'

import { parseTarget } from '../../../src/overlay/bootstrap/parse-bootstrap.ts'
import { makeOverlay } from './lab.ts'

const optionsSchema = z.object({ routers: z.array(z.string()).optional(), keys: z.array(z.string()).optional() })
const options = optionsSchema.parse(JSON.parse(process.argv[2] ?? '{}'))

const overlay = await makeOverlay({
  bootstrap: { candidates: async () => (options.routers ?? []).flatMap((router) => parseTarget(router) ?? []) },
  ...(options.keys === undefined ? {} : { overlayKeys: options.keys.map((key) => Buffer.from(key, 'hex')) }),
})
await overlay.start()
process.on('disconnect', () => process.exit(0))
process.on('message', (message) => {
  if (message === 'peers') process.send?.({ type: 'peers', ids: overlay.peers().map((peer) => peer.id) })
})
process.send?.({ type: 'ready', id: overlay.self.id, routers: overlay.routers().map(String) })
