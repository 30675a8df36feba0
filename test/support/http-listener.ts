import type { Server } from 'node:http'

import { type AppOptions, type Routes, createApp } from '../../src/http/app.ts'
import { OpenRequests } from '../../src/http/open-requests.ts'
import { createHttpServer } from '../../src/http/server.ts'

/** A server with the routes of one listener, as the daemon has it. It does not listen yet. */
export async function createListener(
  routes: Routes,
  { finished = () => {}, log = { error: () => {} } }: Partial<Omit<AppOptions, 'open'>> = {},
): Promise<Server> {
  const open = new OpenRequests()
  return createHttpServer(await createApp(routes, { finished, log, open }), open)
}
