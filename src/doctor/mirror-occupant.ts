import { lookup } from 'node:dns/promises'

import { formatHostPort, type HostPort } from '../overlay/host-port.ts'
import { second } from '../time/units.ts'
import { VERSION_HEADER } from '../version.ts'
import { askHttp, type HttpLook, SilentError } from './ask-http.ts'
import { findListeningProcess, type ListeningProcess } from './listening-process.ts'
import { hostPortOf, isLoopback, isOwnAddress } from './mirror-addresses.ts'

/** The program at the address of a mirror. */
export type MirrorOccupant =
  | { readonly type: 'none' }
  /** `silent`: the process of a Nabo that took the connection and gave no answer. */
  | { readonly type: 'nabo'; readonly silent?: ListeningProcess }
  /** `process` is undefined for an address of another machine, and where `/proc/net` does not show the socket. */
  | { readonly type: 'other'; readonly address: HostPort; readonly process: ListeningProcess | undefined }

/** The watchdog ends a Nabo whose event loop is blocked for 5 s: a listener that is silent for longer is not one that works. */
const SILENCE_TIMEOUT = 5 * second
/** For a program that sends a byte now and then. */
const WHOLE_TIMEOUT = 2 * SILENCE_TIMEOUT
/** Makes a Nabo without {@link VERSION_HEADER} (0.1.0) refuse the request in words that no other program uses. */
const USER_AGENT = 'nabo'
const REFUSALS = /a mirror must not be its own upstream|set the Nabo-Token header/

/** Asks `GET /v2/` at each address that the URL's host resolves to, without a proxy. The first other program found decides. `timeout`: milliseconds without an answer. */
export async function findMirrorOccupant(url: URL, { timeout = SILENCE_TIMEOUT } = {}): Promise<MirrorOccupant> {
  const target = hostPortOf(url.href)
  if (target === undefined) return { type: 'none' }
  const addresses = await lookup(target.host, { all: true }).catch(() => [])
  const found = await Promise.all(
    addresses.map(({ address }) => occupantOf({ ...target, host: address }, url, timeout)),
  )
  return found.find(({ type }) => type === 'other') ?? found.find(({ type }) => type === 'nabo') ?? { type: 'none' }
}

/** Whether a mirror gave this answer to the user agent `nabo`. */
export function isNabo({ header, body }: HttpLook): boolean {
  return header(VERSION_HEADER) !== undefined || REFUSALS.test(body)
}

async function occupantOf(
  address: HostPort,
  { protocol, host, hostname }: URL,
  timeout: number,
): Promise<MirrorOccupant> {
  const isLocal = isLoopback(address.host) || isOwnAddress(address.host)
  const answer = await askHttp(new URL(`${protocol}//${formatHostPort(address)}/v2/`), {
    headers: { host, 'user-agent': USER_AGENT },
    signal: AbortSignal.timeout(WHOLE_TIMEOUT),
    timeout,
    servername: hostname,
    // Runtimes trust certificates of their own; nothing secret is sent here.
    verifiesCertificates: false,
  }).catch((error: unknown) => (isUnreachable(error, isLocal) ? undefined : 'not HTTP'))
  if (answer === undefined) return { type: 'none' }
  if (answer !== 'not HTTP' && isNabo(answer)) return { type: 'nabo' }
  const listener = isLocal ? await findListeningProcess(address) : undefined
  if (answer === 'not HTTP' && listener !== undefined && isThisProgram(listener))
    return { type: 'nabo', silent: listener }
  return { type: 'other', address, process: listener }
}

const UNREACHABLE: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EADDRNOTAVAIL',
])

/** Whether no program took the connection. On this machine a timeout means that a program listens and does not accept. */
function isUnreachable(error: unknown, isLocal: boolean): boolean {
  if (!(error instanceof Error) || !('code' in error) || error instanceof SilentError) return false
  return UNREACHABLE.has(error.code) || (error.code === 'ETIMEDOUT' && !isLocal)
}

/**
 * A daemon binds before it can answer, and the chart's `postStart` hook runs `configure` at that moment. Only root's process, or one of this
 * user, counts: any user can run Nabo's program.
 */
export function isThisProgram({ uid, program }: ListeningProcess): boolean {
  const [, script] = process.argv
  if (program === undefined || script === undefined) return false
  return (
    program.executable === process.execPath && program.args.includes(script) && [0, process.getuid?.()].includes(uid)
  )
}
