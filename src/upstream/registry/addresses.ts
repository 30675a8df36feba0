import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { DOCKER_HUB, type Repository, canonicalRegistry, speaksPlainHttp } from '../../oci/reference.ts'
import { type RegistryApi, registryApi } from '../../oci/registry-url.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { minute } from '../../time/units.ts'
import { realmBelongsTo } from './challenge.ts'
import { type BreakerState, CircuitBreaker } from './circuit-breaker.ts'

/** One of the places where a registry's content is asked for. */
export interface Address extends RegistryApi {
  readonly registry: string
  readonly url: URL
  /** The registry itself: what it denies or does not have is not asked of others. */
  readonly isAuthoritative: boolean
  /** Whether the registry's credentials are for this address too. */
  readonly isOwn: boolean
  /** Its host is outside of the registry's domain, and may have an account of its own there. */
  readonly isElsewhere: boolean
  readonly breaker: CircuitBreaker
  /** How far its clock was ahead of this node's when it answered last, in milliseconds, and when that was, by the monotonic clock. */
  clock?: { readonly ahead: number; readonly at: number } | undefined
}

export interface AddressView {
  readonly registry: string
  readonly address: string
  readonly state: BreakerState
  /** Milliseconds by which its clock is ahead of this node's; undefined if no answer of the last minutes tells. */
  readonly clockAhead: number | undefined
}

/** This node's clock may be put right at any time, and old answers then say nothing. */
const CLOCK_MEMORY = 5 * minute
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
    const since = performance.now() - CLOCK_MEMORY
    return all.map(({ registry, name, breaker, clock }) => ({
      registry,
      address: name,
      state: breaker.state,
      clockAhead: clock !== undefined && clock.at > since ? clock.ahead : undefined,
    }))
  }

  /**
   * The registry itself is the address in its own domain, else the first: what is listed besides is a mirror, wherever it stands.
   */
  #create(registry: string, urls: readonly URL[]): Address[] {
    const isElsewhere = (url: URL) => !realmBelongsTo(url, defaultUrl(registry))
    const itself = urls.find((url) => !isElsewhere(url)) ?? urls[0]
    return urls.map((url) => {
      const api = registryApi(url)
      return {
        ...api,
        registry,
        url,
        isAuthoritative: url === itself,
        isOwn: itself !== undefined && realmBelongsTo(url, itself),
        isElsewhere: isElsewhere(url),
        breaker: this.#breaker({ registry, address: api.name }),
      }
    })
  }

  #breaker(fields: { registry: string; address: string }): CircuitBreaker {
    return new CircuitBreaker(({ isOpen, failure, pause = 0 }) => {
      if (!isOpen) this.#log?.info(fields, 'an address of a registry answers again')
      else {
        const why = { pauseMs: Math.round(pause), err: errorText(failure) }
        this.#log?.warn({ ...fields, ...why }, 'an address of a registry is left alone for a while')
      }
    })
  }
}

/** The name of a repository at an address. */
export function nameAt({ prefix }: Address, { name }: Repository): string {
  return `${prefix}${name}`
}

/** The name under which credentials for an address are kept: a mirror in another domain has its own. */
export function credentialNameOf({ isOwn, registry, url }: Address): string {
  return isOwn ? registry : canonicalRegistry(url.host)
}

/** Where a registry is without --upstream. */
export function defaultUrl(registry: string): URL {
  if (registry === DOCKER_HUB) return new URL('https://registry-1.docker.io')
  return new URL(`${speaksPlainHttp(registry) ? 'http' : 'https'}://${registry}`)
}
