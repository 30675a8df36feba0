import { errorText } from '../../telemetry/log.ts'
import { UpstreamError } from '../upstream.ts'
import type { Address } from './addresses.ts'
import { readSmallBody } from './bodies.ts'
import { parseChallenge, realmOf } from './challenge.ts'
import type { HttpClient, HttpResponse } from './http-client.ts'
import { flagFor, type TokenRealms } from './token-realms.ts'

/** What came of asking one address of a registry for `/v2/`, which counts for no quota. */
export interface ReachedAddress {
  readonly host: string
  /** undefined if it answers as a registry may. */
  readonly failure?: string
  /** Its token server, which is in another domain and gets no credentials, and the flag that allows it. */
  readonly withheld?: { readonly tokenServer: string; readonly flag: string }
  /** It is the mirror of a Nabo, which refuses to be an upstream. */
  readonly isNabo: boolean
  /** Its `Date` header. */
  readonly date?: string
}

const MAX_BODY = 16 * 1024

/** Asks each address of a registry once, without credentials. Rejects for the signal alone. */
export function reachAddresses(
  http: HttpClient,
  addresses: readonly Address[],
  options: { signal: AbortSignal; realms: Pick<TokenRealms, 'trusts'> },
): Promise<readonly ReachedAddress[]> {
  return Promise.all(addresses.map((address) => reach(http, address, options)))
}

/** A registry that answers, but with what no image can be had by, or no private one. */
function troubleOf(
  response: HttpResponse,
  address: Address,
  realms: Pick<TokenRealms, 'trusts'>,
): Pick<ReachedAddress, 'failure' | 'withheld'> {
  if (response.status >= 500) return { failure: `it answered ${response.status}` }
  const challenge = response.status === 401 ? parseChallenge(response.header('www-authenticate') ?? '') : undefined
  if (challenge?.scheme !== 'bearer') return {}
  try {
    const realm = realmOf(challenge, address.url)
    if (realms.trusts(realm, address)) return {}
    return { withheld: { tokenServer: realm.host, flag: flagFor(realm, address).flag } }
  } catch (error) {
    return { failure: errorText(error) }
  }
}

async function reach(
  http: HttpClient,
  address: Address,
  { signal, realms }: { signal: AbortSignal; realms: Pick<TokenRealms, 'trusts'> },
) {
  const { registry, url } = address
  const { host } = url
  try {
    const base = new URL(`${url.pathname.replace(/\/$/, '')}/v2/`, url)
    const response = await http.request(base, { registry, method: 'GET', headers: {}, signal })
    const date = response.header('date')
    const body = await readSmallBody(response, MAX_BODY).catch(() => new Uint8Array())
    const isNabo = response.status === 404 && Buffer.from(body).includes('a mirror must not be its own upstream')
    return {
      host,
      isNabo,
      ...troubleOf(response, address, realms),
      ...(date === undefined ? {} : { date }),
    }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof UpstreamError)) throw error
    // The text of `unreachable` only repeats the host, so use its cause; other errors state the reason themselves.
    return { host, isNabo: false, failure: errorText(error.reason === 'unreachable' ? (error.cause ?? error) : error) }
  }
}
