import type { FinishedExchange } from '../http/exchange.ts'
import type { Log } from '../telemetry/log.ts'

/** Messages between nodes. */
const CHATTER = new Set(['about', 'announce', 'lookup', 'join', 'report', 'verify', 'access', 'quota', 'warm'])
/** The question of a command or a check whether Nabo listens. */
const PROBE = 'probe'

/** One line a request, saying where its bytes came from. Nabo's own messages between nodes are too many for `info`. */
export function logRequest(log: Log, listener: string, finished: FinishedExchange): void {
  const { shares = [], ...fields } = finished
  const first = shares[0]
  const origin = {
    ...(first === undefined ? {} : { source: first.source }),
    ...(first?.peer === undefined ? {} : { peer: first.peer }),
    // A source that broke off was followed by another one.
    ...(shares.length > 1 ? { shares } : {}),
  }
  const line = { listener, ...fields, ...origin }
  const isChatter = CHATTER.has(fields.kind ?? '')
  if (fields.outcome === 'broken') log.warn(line, 'request')
  else if ((isChatter && fields.outcome === 'done') || fields.kind === PROBE) log.debug(line, 'request')
  else log.info(line, 'request')
}
