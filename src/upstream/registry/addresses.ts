import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { DOCKER_HUB, canonicalRegistry } from '../../oci/reference.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { realmBelongsTo } from './challenge.ts'
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts'

/** One of the places where a registry's content is asked for. */
export interface Address {
  readonly registry: string
  readonly url: URL
  /** The registry itself: what it denies or does not have is not asked of others. */
  readonly isAuthoritative: boolean
  /** Whether the registry's credentials are for this address too. */
  readonly isOwn: boolean
  readonly breaker: CircuitBreaker
}

export interface AddressView {
  readonly registry: string
  readonly address: string
  readonly state: BreakerState
}

/** Cap on the registries that clients name, besides those of the flags. */
const MAX_UNNAMED = 200

/** The addresses of each registry in the order to try, with what is known about their health. */
export class Addresses {
  readonly #named: ReadonlyMap<string, readonly Address[]>
  readonly #unnamed = new LRUCache<string, readonly Address[]>(atMost(MAX_UNNAMED))
  readonly #log: Pick<Log, 'warn' | 'info'> | undefined

  /** `endpoints`: base URLs by registry; a registry that is not named is asked under its own name. */
  constructor(endpoints: ReadonlyMap<string, readonly URL[]>, log?: Pick<Log, 'warn' | 'info'>) {
    this.#log = log
    this.#named = new Map([...endpoints].map(([registry, urls]) => [registry, this.#create(registry, urls)]))
  }

  of(registry: string): readonly Address[] {
    const known = this.#named.get(registry) ?? this.#unnamed.get(registry)
    if (known !== undefined) return known
    const created = this.#create(registry, [defaultUrl(registry)])
    this.#unnamed.set(registry, created)
    return created
  }

  views(): AddressView[] {
    const all = [...this.#named.values(), ...this.#unnamed.values()].flat()
    return all.map(({ registry, url, breaker }) => ({ registry, address: url.host, state: breaker.state }))
  }

  /**
   * The registry itself is the address in its own domain, else the first: what is listed besides is a mirror, wherever it stands.
   */
  #create(registry: string, urls: readonly URL[]): Address[] {
    const itself = urls.find((url) => realmBelongsTo(url, defaultUrl(registry))) ?? urls[0]
    return urls.map((url) => ({
      registry,
      url,
      isAuthoritative: url === itself,
      isOwn: itself !== undefined && realmBelongsTo(url, itself),
      breaker: new CircuitBreaker((change) => {
        const fields = { registry, address: url.host }
        if (!change.isOpen) this.#log?.info(fields, 'an address of a registry answers again')
        else {
          const why = { pauseMs: Math.round(change.pause ?? 0), err: errorText(change.failure) }
          this.#log?.warn({ ...fields, ...why }, 'an address of a registry is left alone for a while')
        }
      }),
    }))
  }
}

/** The name under which credentials for an address are kept: a mirror in another domain has its own. */
export function credentialNameOf({ isOwn, registry, url }: Address): string {
  return isOwn ? registry : canonicalRegistry(url.host)
}

/** Registries on this machine speak plain HTTP, as every client assumes. */
function defaultUrl(registry: string): URL {
  if (registry === DOCKER_HUB) return new URL('https://registry-1.docker.io')
  const isLocal = /^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(registry)
  return new URL(`${isLocal ? 'http' : 'https'}://${registry}`)
}
