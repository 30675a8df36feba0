import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Log } from '../../telemetry/log.ts'
import { hour } from '../../time/units.ts'
import type { Asker } from './authorization.ts'

/** Why credentials do not work: those of this node, and with `withheld` those of pulls too. No text holds a secret. */
export type CredentialTrouble =
  /** The registry, or its token server, does not take the user and password. `account` is empty for a token, and where names are not shown. */
  | { readonly type: 'refused'; readonly registry: string; readonly address: string; readonly account: string }
  /** The registry's token server is in another domain, so it gets no credentials; `flag` allows it. */
  | {
      readonly type: 'withheld'
      readonly registry: string
      readonly address: string
      readonly tokenServer: string
      readonly flag: string
    }
  /** A credential helper or provider gives no answer. */
  | { readonly type: 'program'; readonly program: string; readonly reason: string }
  /** A file of credentials has changed and cannot be used. */
  | { readonly type: 'file'; readonly reason: string }

const MAX_KEPT = 64
/** Clients name registries, and so cause these: they are kept apart, where they evict none of the node's own troubles. */
const MAX_WITHHELD = 16
/** Registries are asked when somebody pulls: without another pull nothing shows that the trouble is over. */
const MEMORY = 1 * hour

/** The troubles with credentials that the last request has shown, each until a request shows that it is over, an hour at most. */
export class CredentialTroubles {
  readonly #kept = new LRUCache<string, CredentialTrouble>({ ...atMost(MAX_KEPT), ttl: MEMORY })
  readonly #withheld = new LRUCache<string, CredentialTrouble>({ ...atMost(MAX_WITHHELD), ttl: MEMORY })
  readonly #log: Pick<Log, 'warn'> | undefined

  constructor(log?: Pick<Log, 'warn'>) {
    this.#log = log
  }

  /** `key` names what is in trouble. */
  note(key: string, trouble: CredentialTrouble): void {
    const kept = trouble.type === 'withheld' ? this.#withheld : this.#kept
    kept.set(key, trouble)
  }

  clear(key: string): void {
    this.#kept.delete(key)
    this.#withheld.delete(key)
  }

  /** A registry did not take a credential, of this node or of a client; only the node's own is a trouble of the node. */
  refused(asker: Asker): void {
    const account = accountOf(asker)
    if (account === undefined) return
    const { registry, name: address } = asker.address
    const key = keyOf(asker, account)
    if (!this.#kept.has(key))
      this.#log?.warn(
        { registry, address, account },
        'a registry refuses the user and password of this node: put them right where they are kept; public images are pulled without them',
      )
    this.note(key, { type: 'refused', registry, address, account })
  }

  /** Whether the registry has refused this account, and that has been logged. */
  isRefused(asker: Asker): boolean {
    const account = accountOf(asker)
    return account !== undefined && this.#kept.has(keyOf(asker, account))
  }

  accepted(asker: Asker): void {
    const account = accountOf(asker)
    if (account !== undefined && this.#kept.size > 0) this.clear(keyOf(asker, account))
  }

  /** The node's own troubles first. */
  list(): readonly CredentialTrouble[] {
    return [...this.#kept.values(), ...this.#withheld.values()]
  }
}

function accountOf({ credential, isNodes }: Asker): string | undefined {
  if (credential === undefined || !isNodes) return undefined
  return 'username' in credential ? credential.username : ''
}

function keyOf({ address }: Asker, account: string): string {
  return `registry ${address.url.href} ${account}`
}

/** What everybody may read: whose account it is stays with the operator. */
export function withoutAccount(trouble: CredentialTrouble): CredentialTrouble {
  return trouble.type === 'refused' ? { ...trouble, account: '' } : trouble
}
