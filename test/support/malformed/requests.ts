import { HTTP_KINDS } from './http-kinds.ts'
import type { Kind, MalformedRequest, PortName, Surroundings } from './malformed-request.ts'
import { pick, type Random } from './messages.ts'
import { noise } from './raw-bytes.ts'
import { ROUTER_KINDS } from './router-kinds.ts'

const SHARES: readonly (readonly [PortName, number])[] = [
  ['mirror', 0.35],
  ['peer', 0.35],
  ['admin', 0.12],
  ['metrics', 0.06],
  ['router', 0.12],
]

/** The next request of a seeded generator. */
export function nextMalformedRequest(random: Random, around: Surroundings): MalformedRequest {
  const port = portFor(random())
  const kinds: Readonly<Record<string, Kind>> = port === 'router' ? ROUTER_KINDS : HTTP_KINDS
  const kind = pick(
    random,
    port === 'peer' || port === 'admin' ? [...Object.keys(kinds), ...MESSAGE_KINDS] : Object.keys(kinds),
  )
  const { bytes, ending = 'read', isHead = false } = (kinds[kind] ?? noise)(random, port, around)
  const parts = typeof bytes === 'string' || Buffer.isBuffer(bytes) ? [bytes] : bytes
  return { port, kind, bytes: parts.map((part) => Buffer.from(part as string, 'latin1')), ending, isHead }
}

function portFor(place: number): PortName {
  let sum = 0
  return SHARES.find(([, share]) => (sum += share) > place)?.[0] ?? 'mirror'
}

/** Peer and admin ports get more of these: their decoders are behind the HTTP parser. */
const MESSAGE_KINDS = ['message', 'proven message', 'message', 'proven message', 'proven message']
