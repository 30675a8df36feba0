import { once } from 'node:events'

import type { FastifyInstance, onRequestHookHandler } from 'fastify'

import { ADMIN_API, type AdminApi, type AdminHandlers, PROBES } from '../contracts/admin-api.ts'
import type { AdminCall, AdminHandler, AdminRequest, JsonCall } from '../contracts/admin-contract.ts'
import { OciError } from '../oci/errors.ts'
import { sendBody } from './answers.ts'
import type { Routes } from './app.ts'
import { type Exchange, breakOff } from './exchange.ts'

/**
 * `probes`: health and metrics, for any network. `public`: on loopback TCP, the calls whose audience is `anyone`, with answers about public
 * content alone. `operator`: on the Unix socket, all calls with full answers.
 */
export type AdminAccess = 'probes' | 'public' | 'operator'

/** Cap on lines that the client has not read. A client that lets more wait loses its connection. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024

type AnyHandler = (request: AdminRequest<unknown, unknown>, write: (line: unknown) => void) => unknown

/** The routes of the admin API, derived from its contracts. `guard` refuses requests of pages in browsers; see `local-guard.ts`. */
export function adminRoutes(handlers: AdminHandlers, access: AdminAccess, guard?: onRequestHookHandler): Routes {
  const names = Object.keys(access === 'probes' ? PROBES : ADMIN_API) as (keyof AdminApi)[]
  return (app) => {
    app.addHook('onRequest', ({ exchange }, _reply, done) => {
      exchange.fields.kind = 'admin'
      done()
    })
    if (guard !== undefined) app.addHook('onRequest', guard)
    for (const name of names) addCall(app, ADMIN_API[name], handlers[name] as AnyHandler, access === 'operator')
  }
}

function addCall(app: FastifyInstance, call: AdminCall, handle: AnyHandler, isOperator: boolean): void {
  const schema = {
    ...(call.query === undefined ? {} : { querystring: call.query }),
    ...(call.body === undefined ? {} : { body: call.body.schema }),
  }
  app.route({
    method: call.method === 'GET' ? ['GET', 'HEAD'] : call.method,
    url: call.path,
    schema,
    ...(call.body === undefined ? {} : { bodyLimit: call.body.maxBytes }),
    onRequest: (_request, _reply, done) => {
      if (call.audience === 'operator' && !isOperator) throw operatorOnly(call)
      done()
    },
    handler: async ({ exchange, query, body }) => {
      const asked = { query, body, isOperator, signal: exchange.signal }
      switch (call.format) {
        case 'json':
          return sendAnswer(exchange, call, await (handle as AdminHandler<typeof call>)(asked))
        case 'text': {
          const { contentType, text } = await (handle as AdminHandler<typeof call>)(asked)
          return sendBody(exchange, text, { 'content-type': contentType })
        }
        case 'lines':
          return sendLines(exchange, (write) => (handle as AdminHandler<typeof call>)(asked, write))
      }
    },
  })
}

function sendAnswer(exchange: Exchange, call: JsonCall<unknown, unknown, unknown>, answer: unknown): void {
  sendBody(exchange, JSON.stringify(answer), {}, call.statuses?.of(answer))
}

/** A failure before the first line is a refusal; after it the answer breaks off. */
async function sendLines(exchange: Exchange, work: (write: (line: unknown) => void) => Promise<void>): Promise<void> {
  const { reply, response } = exchange
  const write = (line: unknown) => {
    if (!reply.sent) {
      reply.hijack()
      response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    }
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy()
    else response.write(`${JSON.stringify(line)}\n`)
  }
  try {
    await work(write)
  } catch (error) {
    if (!reply.sent) throw error
    return breakOff(exchange, error)
  }
  const ended = Promise.race([once(response, 'finish'), once(response, 'close')])
  response.end()
  await ended
}

function operatorOnly({ path }: Pick<AdminCall, 'path'>): OciError {
  return new OciError('DENIED', {
    message: `${path} is answered on the Unix socket of this node only (--admin-socket): use the nabo command without --admin-url`,
  })
}
