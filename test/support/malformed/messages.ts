/** A source of numbers from 0 to 1, without 1. */
export type Random = () => number

export function pick<T>(random: Random, choices: readonly T[]): T {
  const chosen = choices[Math.floor(random() * choices.length)]
  if (chosen === undefined) throw new Error('there is nothing to choose from')
  return chosen
}

export function intBelow(random: Random, end: number): number {
  return Math.floor(random() * end)
}

export function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => intBelow(random, 256)))
}

const DIGEST = `sha256:${'5'.repeat(64)}`
const PEER = { id: '12D3KooWinvented', address: '10.9.8.7:7951' }
const MEMBER = { ...PEER, sending: 0, capacity: 3 }

/** A well-formed message for each path of the peer listener. */
const MESSAGES: Readonly<Record<string, object>> = {
  '/nabo/v1/announce': {
    ...{ type: 'claims', peer: PEER, epoch: '0123456789abcdef', seq: 1, after: 0, full: true, more: false },
    ...{ scope: 'all', ttl: 60_000, add: '', remove: '' },
  },
  '/nabo/v1/lookup': { keys: 'A'.repeat(43) },
  '/nabo/v1/swarm/join': {
    ...{ type: 'join', member: MEMBER, item: `docker.io/library/app@${DIGEST}`, kind: 'blob', position: 0 },
    ...{ serves: true, left: [], forwarded: false },
  },
  '/nabo/v1/swarm/report': {
    type: 'report',
    member: MEMBER,
    entries: [{ item: DIGEST, kind: 'blob', position: 1, serves: false, outcome: { type: 'complete' } }],
  },
  '/nabo/v1/verify': { digest: DIGEST, waits: true },
  '/nabo/v1/quota': {
    ...{ registry: 'docker.io', host: 'registry-1.docker.io', source: '192.0.2.1', limit: 100, remaining: 5 },
    ...{ windowSeconds: 21_600, age: 1 },
  },
  '/nabo/v1/about': { digests: [DIGEST] },
  '/nabo/v1/access': { repository: 'docker.io/library/app', content: { kind: 'blobs', digest: DIGEST } },
  '/nabo/v1/warm': { ticket: '00000000-0000-4000-8000-000000000000', reference: 'docker.io/library/none:1' },
}

export const PEER_PATHS: readonly string[] = Object.keys(MESSAGES)

const WARM_ORDER = { reference: 'library/none:1', platform: 'linux/amd64', nodes: ['self'], zones: ['a'], parallel: 2 }

/** A body for a path: JSON that no decoder can take, or a message with wrong parts. */
export function malformedMessage(random: Random, path: string): Buffer {
  const hostile = pick(random, [deepArray, deepObject, wideObject, notJson, notUtf8, bigNumber, longText, tooLong])
  if (random() < 0.3) return hostile(random)
  const message = structuredClone(MESSAGES[path] ?? WARM_ORDER) as Record<string, unknown>
  for (let i = 0; i <= intBelow(random, 3); i++) spoil(random, message)
  return Buffer.from(JSON.stringify(message))
}

/** Takes a part out, puts another one in, or replaces one, at any depth. */
function spoil(random: Random, object: Record<string, unknown>): void {
  const keys = Object.keys(object)
  if (keys.length === 0) return
  const key = pick(random, keys)
  const value = object[key]
  if (typeof value === 'object' && value !== null && random() < 0.6)
    return spoil(random, value as Record<string, unknown>)
  const how = random()
  if (how < 0.15) delete object[key]
  else if (how < 0.25) object[`x${intBelow(random, 1e9)}`] = value
  else if (how < 0.3) put(object, '__proto__', { polluted: true })
  else put(object, key, wrongValue(random))
}

/** As JSON.parse does it: `__proto__` is a key like any other. */
function put(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
}

function wrongValue(random: Random): unknown {
  return pick<() => unknown>(random, [
    () => null,
    () => true,
    () => -1,
    () => 0.5,
    () => Number.MAX_SAFE_INTEGER,
    () => 1e308,
    () => '',
    () => [],
    () => ({}),
    () => [[[[[]]]]],
    () => '\u0000\ud800\u202e',
    () => `sha256:${'g'.repeat(64)}`,
    () => `sha512:${'0'.repeat(128)}`,
    () => '../../etc/passwd',
    () => 'a'.repeat(intBelow(random, 5_000)),
    () => Array.from({ length: intBelow(random, 500) }, (_, i) => i),
    () => Array.from({ length: intBelow(random, 50) }, () => DIGEST),
    () => randomBytes(random, 40).toString('base64url'),
    () => `registry-${intBelow(random, 1e9)}.example/app`,
    () => ({ type: 'toString', constructor: null }),
  ])()
}

const deepArray = (random: Random) => Buffer.from('['.repeat(1_000 + intBelow(random, 60_000)))
const deepObject = (random: Random) => {
  const depth = 100 + intBelow(random, 5_000)
  return Buffer.from(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)
}
const wideObject = (random: Random) =>
  Buffer.from(`{${Array.from({ length: 2_000 }, () => `"k${intBelow(random, 1e9)}":0`).join()}}`)
const notJson = (random: Random) =>
  Buffer.from(
    pick(random, ['', '{', 'null', '"', '{"a":}', 'NaN', '<?xml version="1.0"?>', '{"a":1}{"a":1}', '\ufeff{}']),
  )
const notUtf8 = (random: Random) => Buffer.concat([Buffer.from('{"'), randomBytes(random, 200), Buffer.from('":1}')])
const bigNumber = (random: Random) =>
  Buffer.from(`{"limit":${'9'.repeat(1 + intBelow(random, 3_000))}e${intBelow(random, 999)}}`)
const longText = (random: Random) => Buffer.from(`{"reference":"${'\\u0000'.repeat(intBelow(random, 10_000))}"}`)
/** Above the limit of every message but the announcement and the report. */
const tooLong = (random: Random) => Buffer.alloc(200_000 + intBelow(random, 200_000), 0x20)
