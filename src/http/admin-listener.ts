import { OciError } from '../oci/errors.ts'
import type { Peer } from '../overlay/overlay.ts'
import { sendJson } from './answers.ts'
import type { Exchange } from './exchange.ts'
import { requireRead } from './mirror-listener.ts'

/** Whether this node can do its work. `reasons` says why not, in words for its operator. */
export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

export interface AdminListenerOptions {
  readiness(): Readiness
  metrics(): Promise<{ contentType: string; text: string }>
  status(): object
  peers(): readonly Peer[]
}

/** Health, metrics and the API that the command line uses. `readOnly` leaves out everything but probes and metrics. */
export function createAdminHandler(options: AdminListenerOptions, mode: 'full' | 'probes'): (exchange: Exchange) => Promise<void> {
  return async (exchange) => {
    requireRead(exchange)
    const path = (exchange.request.url ?? '').split('?')[0]
    exchange.fields.kind = 'admin'
    switch (path) {
      case '/livez':
        return sendJson(exchange, JSON.stringify({ alive: true }))
      case '/readyz':
        return sendReadiness(exchange, options.readiness())
      case '/metrics': {
        const { contentType, text } = await options.metrics()
        return sendJson(exchange, text, { 'content-type': contentType })
      }
    }
    if (mode === 'full') {
      switch (path) {
        case '/':
          return sendJson(exchange, page(options), { 'content-type': 'text/plain; charset=utf-8' })
        case '/api/v1/status':
          return sendJson(exchange, JSON.stringify(options.status()))
        case '/api/v1/peers':
          return sendJson(exchange, JSON.stringify({ peers: options.peers() }))
      }
    }
    throw new OciError('NOT_FOUND')
  }
}

async function sendReadiness(exchange: Exchange, readiness: Readiness): Promise<void> {
  exchange.response.statusCode = readiness.ready ? 200 : 503
  const body = Buffer.from(`${JSON.stringify(readiness)}\n`)
  exchange.response.setHeader('content-type', 'application/json')
  exchange.response.setHeader('content-length', body.length)
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : body)
}

function page(options: AdminListenerOptions): string {
  const { ready, reasons } = options.readiness()
  const peers = options.peers()
  return [
    `Nabo is ${ready ? 'ready' : `not ready: ${reasons.join('; ')}`}.`,
    '',
    JSON.stringify(options.status(), undefined, 2),
    '',
    peers.length === 0 ? 'No other node is known.' : `Other nodes:\n${peers.map((peer) => `  ${peer.address}  ${peer.id}`).join('\n')}`,
    '',
    'More: /livez, /readyz, /metrics, /api/v1/status, /api/v1/peers',
    '',
  ].join('\n')
}
