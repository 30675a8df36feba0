import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import { repositoryKey } from '../../oci/reference.ts'
import type { Log } from '../../telemetry/log.ts'
import { minute } from '../../time/units.ts'
import { UpstreamError } from '../upstream.ts'
import type { AddressClientOptions, RegistryAnswer } from './address-client.ts'
import type { Asker } from './authorization.ts'
import { discard } from './bodies.ts'
import { credentialId } from './credential.ts'

/** Short: a password may be put right, or a right be given, at the registry. */
const REFUSED_LIFE = 1 * minute
const MAX_REFUSED = 5000

/** Asks with the node's own credentials. Those that are out of date must not take away what anybody may have. */
export class NodeOrNobody {
  readonly #log: Pick<Log, 'warn'> | undefined
  readonly #troubles: AddressClientOptions['troubles']
  readonly #now: () => number
  /** Until when a credential is not sent, which was refused for what was then shown to anybody. */
  readonly #refused = new LRUCache<string, number>(atMost(MAX_REFUSED))

  /** `troubles` logs accounts that a registry refuses; `now` in milliseconds, monotonic. */
  constructor(
    { log, troubles }: Pick<AddressClientOptions, 'log' | 'troubles'>,
    now: () => number = () => performance.now(),
  ) {
    this.#log = log
    this.#troubles = troubles
    this.#now = now
  }

  /** `ask` asks with the credential of the asker that it is given. Throws its UpstreamError. */
  async ask(asker: Asker, ask: (as: Asker) => Promise<RegistryAnswer>): Promise<RegistryAnswer> {
    const key = keyOf(asker)
    const nobody = { ...asker, credential: undefined }
    if ((this.#refused.get(key) ?? 0) > this.#now()) {
      try {
        return await ask(nobody)
      } catch (error) {
        if (isRefusal(error)) this.#refused.delete(key)
        throw error
      }
    }
    try {
      return await ask(asker)
    } catch (refusal) {
      if (!isRefusal(refusal)) throw refusal
      const answer = await ask(nobody).catch((error: unknown) => {
        throw isRefusal(error) ? refusal : error
      })
      if (answer.response.status === 404) {
        // So some registries hide what they deny.
        await discard(answer.response)
        throw refusal
      }
      this.#refused.set(key, this.#now() + REFUSED_LIFE)
      const fields = { registry: asker.address.registry, address: asker.address.name }
      if (this.#troubles?.isRefused(asker) !== true)
        this.#log?.warn(fields, 'a registry does not take the credentials of this node: it was asked without')
      return answer
    }
  }
}

/** A registry or its token realm was asked, and refused. */
function isRefusal(error: unknown): boolean {
  return error instanceof UpstreamError && error.reason === 'denied' && error.status !== undefined
}

function keyOf({ address, repository, credential }: Asker): string {
  return `${address.url.href} ${repositoryKey(repository)} ${credential === undefined ? '' : credentialId(credential)}`
}
