import { OciError } from '../oci/errors.ts'
import type { FindRequest, FoundImage } from '../delivery/images/image-finder.ts'
import type { IsMirror } from '../oci/reference.ts'
import type { Peer } from '../overlay/overlay.ts'
import { sendJson } from './answers.ts'
import type { Exchange } from './exchange.ts'
import { parseFindQuery } from './find-query.ts'
import { requireRead } from './requests.ts'
import { WARM_COMMAND_PATH } from './warm-command.ts'
import { second } from '../time/units.ts'

/** Whether this node can do its work. `reasons` says why not, in words for its operator. */
export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

/** What a check of this node has found. */
export interface AdminFinding {
  readonly level: 'ok' | 'warning' | 'error' | 'unknown'
  readonly title: string
  readonly says: string
  readonly fix?: string
}

export interface AdminListenerOptions {
  readiness(): Readiness
  metrics(): Promise<{ contentType: string; text: string }>
  status(): object
  /** What is left of the quotas that count for this node. */
  quotas(): Promise<readonly object[]>
  peers(): readonly Peer[]
  /** What each of them says about itself when it is asked now. */
  members(signal: AbortSignal): Promise<readonly object[]>
  /** By which names references name the mirror itself. */
  readonly isMirror: IsMirror
  find(request: FindRequest, signal: AbortSignal): Promise<FoundImage>
  /** See `warm-command.ts`. */
  warm(exchange: Exchange): Promise<void>
  /** Checks this node, if that was not done just now. */
  checks(): Promise<object>
  /** What was found last. */
  lastFindings(): readonly AdminFinding[]
}

const COMMAND_HEADER = 'nabo-command'
const FIND_TIMEOUT = 25 * second

type Route = (options: AdminListenerOptions, exchange: Exchange) => Promise<void>

const PROBES: Readonly<Record<string, Route>> = {
  '/livez': (_options, exchange) => sendJson(exchange, JSON.stringify({ alive: true })),
  '/readyz': (options, exchange) => sendReadiness(exchange, options),
  '/metrics': async (options, exchange) => {
    const { contentType, text } = await options.metrics()
    return sendJson(exchange, text, { 'content-type': contentType })
  },
}

const ALL: Readonly<Record<string, Route>> = {
  ...PROBES,
  '/': (options, exchange) => sendJson(exchange, page(options), { 'content-type': 'text/plain; charset=utf-8' }),
  '/api/v1/status': (options, exchange) => sendJson(exchange, JSON.stringify(options.status())),
  '/api/v1/quota': async (options, exchange) => sendJson(exchange, JSON.stringify({ quotas: await options.quotas() })),
  '/api/v1/peers': async (options, exchange) =>
    sendJson(exchange, JSON.stringify({ peers: await options.members(exchange.signal) })),
  '/api/v1/find': serveFind,
  '/api/v1/checks': async (options, exchange) => sendJson(exchange, JSON.stringify(await options.checks())),
}

/** What is sent with POST. */
const COMMANDS: Readonly<Record<string, Route>> = {
  [WARM_COMMAND_PATH]: (options, exchange) => options.warm(exchange),
}

/** Health, metrics and the API that the command line uses; `probes` leaves out everything but health and metrics. */
export function createAdminHandler(
  options: AdminListenerOptions,
  mode: 'full' | 'probes',
): (exchange: Exchange) => Promise<void> {
  const routes = new Map(Object.entries(mode === 'full' ? ALL : PROBES))
  const commands = new Map(Object.entries(mode === 'full' ? COMMANDS : {}))
  return async (exchange) => {
    const path = (exchange.request.url ?? '').split('?')[0] ?? ''
    exchange.fields.kind = 'admin'
    const command = exchange.request.method === 'POST' ? commands.get(path) : undefined
    if (command !== undefined) return command(options, exchange)
    requireRead(exchange)
    const route = routes.get(path)
    if (route === undefined) throw new OciError('NOT_FOUND')
    await route(options, exchange)
  }
}

async function serveFind(options: AdminListenerOptions, exchange: Exchange): Promise<void> {
  const request = parseFindQuery(
    new URLSearchParams((exchange.request.url ?? '').split('?')[1] ?? ''),
    options.isMirror,
  )
  // A page in a browser can send a GET, though not this header: it must not be able to spend a quota.
  if (request.upstream && exchange.request.headers[COMMAND_HEADER] !== '1')
    throw new OciError('DENIED', { message: `upstream=true needs the header ${COMMAND_HEADER}: 1` })
  const signal = AbortSignal.any([exchange.signal, AbortSignal.timeout(FIND_TIMEOUT)])
  try {
    await sendJson(exchange, JSON.stringify(await options.find(request, signal)))
  } catch (cause) {
    if (exchange.signal.aborted || !signal.aborted) throw cause
    throw new OciError('UNAVAILABLE', { message: `nothing was found within ${FIND_TIMEOUT / second} seconds`, cause })
  }
}

/** A warning makes no node unready: it would only be one node less. */
async function sendReadiness(exchange: Exchange, options: AdminListenerOptions): Promise<void> {
  const readiness = options.readiness()
  exchange.response.statusCode = readiness.ready ? 200 : 503
  const body = Buffer.from(`${JSON.stringify({ ...readiness, warnings: wrong(options).map(inWords) })}\n`)
  exchange.response.setHeader('content-type', 'application/json')
  exchange.response.setHeader('content-length', body.length)
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : body)
}

function wrong(options: AdminListenerOptions): readonly AdminFinding[] {
  return options.lastFindings().filter(({ level }) => level === 'warning' || level === 'error')
}

function inWords({ title, says }: AdminFinding): string {
  return `${title}: ${says}`
}

function page(options: AdminListenerOptions): string {
  const { ready, reasons } = options.readiness()
  const peers = options.peers()
  return [
    `Nabo is ${ready ? 'ready' : `not ready: ${reasons.join('; ')}`}.`,
    ...wrong(options).flatMap((finding) => [
      '',
      `${finding.level}: ${inWords(finding)}`,
      ...(finding.fix === undefined ? [] : [`  fix: ${finding.fix}`]),
    ]),
    '',
    JSON.stringify(options.status(), undefined, 2),
    '',
    peers.length === 0
      ? 'No other node is known.'
      : `Other nodes:\n${peers.map((peer) => `  ${peer.address}  ${peer.id}`).join('\n')}`,
    '',
    'More: /livez, /readyz, /metrics, /api/v1/status, /api/v1/quota, /api/v1/peers, /api/v1/checks, /api/v1/find?reference=…',
    '',
  ].join('\n')
}
