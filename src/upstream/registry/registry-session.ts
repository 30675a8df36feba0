import { hedge } from '../../async/hedge.ts'
import type { Repository } from '../../oci/reference.ts'
import { second } from '../../time/units.ts'
import { UpstreamError, type UpstreamOptions } from '../upstream.ts'
import type { AddressClient, RegistryAnswer, RegistryRequest } from './address-client.ts'
import type { Address, Addresses } from './addresses.ts'
import { discard } from './bodies.ts'
import { Health } from './health.ts'

/** What to ask of whom. */
export interface SessionOptions extends UpstreamOptions {
  /** Asks the registry itself only: a mirror's word would be wrong. */
  readonly itself?: boolean
  /** Addresses that are asked after the others, in this order. */
  readonly last?: readonly string[] | undefined
}

/**
 * A header that takes longer gets company from the next address. Callers have 3 to 9 seconds for all together, and what hangs at the
 * first address must leave time for the second.
 */
const PATIENCE = 1.5 * second
/** Whoever is left without a header after this was slow. A timer may fire a little before the clock says so. */
const LATE = PATIENCE - 100

/** Asks the addresses of a registry for one answer. */
export class RegistrySession {
  readonly #addresses: Addresses
  readonly #client: Pick<AddressClient, 'ask'>

  constructor(addresses: Addresses, client: Pick<AddressClient, 'ask'>) {
    this.#addresses = addresses
    this.#client = client
  }

  /**
   * What `read` makes of an answer with 200 or 206; undefined if the registry says that there is no such thing. What `read` throws
   * is a failure of the address, after which the next one is asked. Throws UpstreamError.
   */
  async request<T>(
    repository: Repository,
    asked: RegistryRequest,
    options: SessionOptions,
    read: (answer: RegistryAnswer, signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    const all = this.#addresses.of(repository.registry)
    const addresses =
      options.itself === true
        ? all.filter(({ isAuthoritative }) => isAuthoritative)
        : reordered(all, options.last ?? [])
    const failures = new Map<Address, unknown>()
    const winner = await hedge(
      addresses,
      // In an object: the registry's own "not found" (undefined) is an answer, after which no mirror is asked.
      async (address, { signal }) => ({
        answer: await this.#try(address, repository, asked, { ...options, signal }, read),
      }),
      {
        delay: PATIENCE,
        signal: options.signal,
        onFailure: (address, error) => void failures.set(address, error),
        isFinal: ({ isAuthoritative }, error) =>
          isAuthoritative && error instanceof UpstreamError && error.reason === 'denied',
      },
    )
    if (winner !== undefined) return winner.value.answer
    throw mainFailure(failures)
  }

  async #try<T>(
    address: Address,
    repository: Repository,
    asked: RegistryRequest,
    options: UpstreamOptions,
    read: (answer: RegistryAnswer, signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    const admission = address.breaker.admit()
    if (admission === undefined) throw leftAlone(address)
    const late = () =>
      admission.failed(new UpstreamError('unreachable', `${address.name} does not answer in time`), {
        wasSent: health.status === 'waiting',
      })
    const health = new Health(late)
    const began = performance.now()
    // By the event: the next request is admitted before this one's rejection is handled.
    const onAbort = () => {
      if (health.isUnanswered && performance.now() - began >= LATE) late()
      else admission.abandoned()
    }
    options.signal.addEventListener('abort', onAbort, { once: true })
    try {
      const answer = await this.#client.ask(address, repository, asked, { ...options, health })
      admission.answered()
      if (answer.response.status !== 404) return await read(answer, options.signal)
      await discard(answer.response)
      if (address.isAuthoritative) return undefined
      throw new UpstreamError('failed', `${address.name} does not have it`, { status: 404 })
    } catch (error) {
      // Before it was asked: a quota is used up, or a helper for credentials kept its caller waiting.
      if (options.signal.aborted || health.status === 'unasked') admission.abandoned()
      else if (error instanceof UpstreamError && isIllness(error, health))
        admission.failed(error, { wasSent: health.status !== 'connecting' })
      else admission.answered()
      throw error
    } finally {
      options.signal.removeEventListener('abort', onAbort)
      health.end()
    }
  }
}

/** The failure of the registry itself, else of the last address: that a mirror lacks something means little. */
function mainFailure(failures: ReadonlyMap<Address, unknown>): unknown {
  return [...failures].find(([{ isAuthoritative }]) => isAuthoritative)?.[1] ?? [...failures.values()].at(-1)
}

function reordered(addresses: readonly Address[], last: readonly string[]): readonly Address[] {
  return addresses.toSorted((a, b) => last.indexOf(a.name) - last.indexOf(b.name))
}

/** Whether a failure says something about the address itself, and not about what was asked or about its CDN. */
function isIllness(error: UpstreamError, { status, isQuota }: Health): boolean {
  if (isQuota || error.limit !== undefined) return false
  // 501 is about the method: the address works.
  if (typeof status === 'number') return (status >= 500 && status !== 501) || status === 429
  return error.reason === 'unreachable' || error.reason === 'limited' || (error.status ?? 0) >= 500
}

function leftAlone({ name, breaker }: Address): UpstreamError {
  const { failure, remaining } = breaker
  const when = remaining > 0 ? `for another ${Math.ceil(remaining / second)} s` : 'while it is tried'
  const message = `${failure?.message ?? `${name} failed`} (it is left alone ${when})`
  const { reason = 'unreachable', status } = failure ?? {}
  return new UpstreamError(reason, message, {
    cause: failure?.cause,
    retryAfter: remaining,
    ...(status === undefined ? {} : { status }),
  })
}
