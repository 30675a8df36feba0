import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { canonicalRegistry } from '../../oci/reference.ts'
import type { Log } from '../../telemetry/log.ts'
import { PacedWarnings } from '../../telemetry/paced-warnings.ts'
import { type Address, credentialNameOf } from './addresses.ts'
import { realmBelongsTo } from './challenge.ts'
import type { CredentialTroubles } from './credential-troubles.ts'

/** A host at which tokens for a registry may be asked for with its credentials, though it is in another domain. */
interface AllowedRealm {
  readonly registry: string
  /** `gitlab.example.org`, with its port if it is not that of the scheme. */
  readonly host: string
}

/** Registries name their token servers: cap on those that the log has named. */
const MAX_SAID = 1000
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** Decides at which token servers credentials are shown, and says once where they are not. */
export class TokenRealms {
  readonly #allowed: readonly AllowedRealm[]
  readonly #warnings: PacedWarnings<'withheld'> | undefined
  readonly #troubles: Pick<CredentialTroubles, 'note'> | undefined
  readonly #said = new LRUCache<string, true>(atMost(MAX_SAID))

  constructor(
    allowed: readonly AllowedRealm[],
    { log, troubles }: { log?: Pick<Log, 'warn'>; troubles?: Pick<CredentialTroubles, 'note'> } = {},
  ) {
    this.#allowed = allowed
    this.#troubles = troubles
    this.#warnings = log === undefined ? undefined : new PacedWarnings(log)
  }

  /** True if the realm is in the domain of the registry's address, or the operator allows it for these credentials. */
  trusts(realm: URL, address: Address): boolean {
    if (realmBelongsTo(realm, address.url)) return true
    if (realm.protocol === 'http:' && address.url.protocol === 'https:') return false
    const withPort = `${realm.hostname}:${realm.port === '' ? DEFAULT_PORTS[realm.protocol] : realm.port}`
    // The host that --upstream names for a registry gets the credentials in any case: its token server may be named for it as well.
    const registries = [credentialNameOf(address), canonicalRegistry(address.url.host)]
    return this.#allowed.some(
      ({ registry, host }) => registries.includes(registry) && (host === realm.host || host === withPort),
    )
  }

  /** Why a credential was kept back, in words for whoever may change it. Notes it as a trouble, and logs it the first time. */
  withhold(realm: URL, address: Address): string {
    const { registry, flag } = flagFor(realm, address)
    const key = `${registry} ${realm.host}`
    const about = { registry, address: address.url.host, tokenServer: realm.host }
    this.#troubles?.note(`token server ${registry}`, { type: 'withheld', ...about, flag })
    if (!this.#said.has(key))
      this.#warnings?.warn(
        'withheld',
        `credentials are not sent to a token server in another domain than its registry: ${flag} allows it`,
        () => {
          this.#said.set(key, true)
          return about
        },
      )
    return `${address.url.host} sends for a token to ${realm.host}, which is not in its domain (${flag} allows it)`
  }
}

/** The flag that lets credentials go to a realm. */
export function flagFor(realm: URL, address: Address): { registry: string; flag: string } {
  const registry = credentialNameOf(address)
  return { registry, flag: `--token-realm ${registry}=${realm.host}` }
}
