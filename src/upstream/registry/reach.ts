import { errorText } from '../../telemetry/log.ts'
import { UpstreamError } from '../upstream.ts'
import type { Address } from './addresses.ts'
import { mediaTypeOf, readSmallBody } from './bodies.ts'
import { parseChallenge, realmOf } from './challenge.ts'
import type { HttpClient, HttpResponse } from './http-client.ts'
import { flagFor, type TokenRealms } from './token-realms.ts'

/** What came of asking one address of a registry for `/v2/`, which counts for no quota. */
export interface ReachedAddress {
  /** The name of the address. */
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
  const { status } = response
  if (status >= 500) return { failure: `it answered ${status}` }
  const isPage = status === 200 && /^text\/html$/i.test(mediaTypeOf(response) ?? '')
  if (isPage || status === 404) {
    // Some gateways know no `/v2/` of their own, only what is below a prefix.
    const failure = pathFailure(address, isPage ? 'sent a page' : `answered ${status}`)
    if (failure !== undefined) return { failure }
  }
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

/** Where a path stands before `/v2`, it may have been meant for the names of repositories. */
function pathFailure({ api, prefix, url }: Address, said: string): string | undefined {
  const path = api.pathname.replace(/\/v2\/$/, '')
  if (path === '' || prefix !== '') return undefined
  return `it ${said} for ${api.pathname}, so no registry is there; if its repositories' names begin with ${path.slice(1)}/, write ${url.origin}/v2${path}`
}

async function reach(
  http: HttpClient,
  address: Address,
  { signal, realms }: { signal: AbortSignal; realms: Pick<TokenRealms, 'trusts'> },
) {
  const { registry, api, name: host } = address
  try {
    const response = await http.request(api, { registry, method: 'GET', headers: {}, signal })
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
