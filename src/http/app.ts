import type { IncomingMessage, RequestListener, Server } from 'node:http'

import fastify, {
  type FastifyError,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { z } from 'zod'

import { InvalidMessage, decodeJson, describeIssue } from '../contracts/message.ts'
import { OciError } from '../oci/errors.ts'
import { errorText, type Log } from '../telemetry/log.ts'
import { type Exchange, type FinishedExchange, openExchange } from './exchange.ts'
import type { OpenRequests } from './open-requests.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set for every request before the first hook of a listener. */
    exchange: Exchange
  }
}

/** Adds the hooks and routes of one listener. */
export type Routes = (app: FastifyInstance) => void

export interface AppOptions {
  /** Called for each exchange when it has ended, for the log and the metrics. */
  readonly finished: (exchange: FinishedExchange) => void
  readonly log: Pick<Log, 'error'>
  readonly open: OpenRequests
}

/** In characters, more than the 32 KiB of a request's head: the parser of a path refuses names that are too long, not the router. */
const MAX_PARAMETER_LENGTH = 64 * 1024

/**
 * Creates a Fastify application. Its routes throw OciErrors, which are written here alone, and no stack trace leaves the process. Resolves
 * with the request listener for its servers.
 */
export async function createApp(routes: Routes, { finished, log, open }: AppOptions): Promise<RequestListener> {
  const begin = (request: FastifyRequest, reply: FastifyReply) => {
    request.exchange ??= openExchange(request, reply, open, finished)
  }
  const options: FastifyHttpOptions<Server> = {
    exposeHeadRoutes: false,
    // `drain` in bind.ts closes the servers; open connections are answered until then.
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    // Without factories Fastify loads Ajv and its own serializer; its types know no other ones.
    schemaController: {
      compilersFactory: { buildValidator: (() => compileValidator) as never, buildSerializer: () => refuseToCompile },
    },
    // Neither hooks nor the error handler see a path with invalid percent-encoding.
    frameworkErrors: (error, request, reply) => {
      begin(request, reply)
      refuse(error, request, reply, log)
    },
  }
  const app = fastify(options)
  app.decorateRequest('exchange')
  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply)
    // Bodies are JSON whatever their type says: Fastify would refuse an odd one.
    delete request.raw.headers['content-type']
    done()
  })
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    // The body of a request without a route is not read: a stranger must not make this node buffer it.
    if (request.is404) requireRead(request)
    done()
  })
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    begin(request, reply)
    refuse(error, request, reply, log)
  })
  app.setNotFoundHandler((request) => {
    requireRead(request)
    throw new OciError('NOT_FOUND')
  })
  app.removeAllContentTypeParsers()
  // Bodies stay bytes until they are authenticated; the schema of the route reads them.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  routes(app)
  await app.ready()
  return (request, response) => app.routing(request, response)
}

/** Refuses every method but GET and HEAD. Messages and commands have routes of their own. Throws OciError. */
export function requireRead({ method }: Pick<FastifyRequest, 'method'>): void {
  if (method === 'GET' || method === 'HEAD') return
  throw new OciError('UNSUPPORTED', { message: 'only pulls are served here', headers: { allow: 'GET, HEAD' } })
}

function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply, log: AppOptions['log']): void {
  const { exchange } = request
  if (exchange.signal.aborted) return
  const refusal = refusalOf(error, request)
  if (refusal === undefined) log.error({ err: errorText(error) }, 'a request failed unexpectedly')
  const answer = refusal ?? new OciError('UNKNOWN')
  exchange.failure = { outcome: 'refused', error }
  void reply
    .code(answer.status)
    .headers({
      ...answer.headers,
      ...(hasUnreadBody(request.raw) ? { connection: 'close' } : {}),
      'content-type': 'application/json',
    })
    .send(Buffer.from(answer.body()))
}

/** Node would read and discard the rest of the body, however long it is, to keep the connection for the next request. */
function hasUnreadBody({ complete, headers }: IncomingMessage): boolean {
  return !complete && (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0)
}

/** The refusal that an error stands for; undefined for a failure of this program. */
function refusalOf(error: unknown, request: FastifyRequest): OciError | undefined {
  if (error instanceof OciError) return error
  if (error instanceof InvalidMessage)
    return new OciError('UNSUPPORTED', { status: 400, message: error.message, cause: error })
  const { code, statusCode = 500, message } = error as Partial<FastifyError>
  switch (code) {
    case 'FST_ERR_BAD_URL':
      return new OciError('NAME_INVALID', { message: 'the path is not valid percent-encoding', cause: error })
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new OciError('UNSUPPORTED', {
        status: 413,
        message: `the message is longer than ${request.routeOptions.bodyLimit} bytes`,
        headers: { connection: 'close' },
        cause: error,
      })
    default:
      return code?.startsWith('FST_') === true && statusCode < 500
        ? new OciError('UNSUPPORTED', {
            status: statusCode,
            message: message ?? 'the request is invalid',
            cause: error,
          })
        : undefined
  }
}

/** Validates bodies and queries with the zod schema of their route. */
function compileValidator({ schema, httpPart }: { schema: unknown; httpPart?: string | undefined }) {
  const type = schema as z.ZodType
  return (data: unknown): { value: unknown } | { error: Error } => {
    try {
      if (httpPart === 'body') return { value: decodeJson(type, (data as Uint8Array | null) ?? new Uint8Array()) }
      const parsed = z.safeDecode(type, data)
      return parsed.success ? { value: parsed.data } : { error: new InvalidMessage(describeIssue(parsed.error)) }
    } catch (error) {
      return { error: error as Error }
    }
  }
}

function refuseToCompile(): never {
  throw new Error('answers are encoded by their contract')
}
