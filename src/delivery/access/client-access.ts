import type { Digest } from '../../oci/digest.ts'
import { parseDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { errorText } from '../../telemetry/log.ts'
import {
  type PullCredential,
  type Upstream,
  UpstreamError,
  type UpstreamListing,
  type UpstreamOptions,
} from '../../upstream/upstream.ts'
import type { TagResolver } from '../tags/tag-resolver.ts'
import { type Caller, GRACE, PEER, type Probe } from './audience.ts'
import type { CallerProofs } from './caller-proofs.ts'
import type { Rights } from './rights.ts'

/** What a client asks for. */
export interface Pull extends Probe {
  readonly repository: Repository
}

export interface ClientAccessOptions {
  readonly rights: Pick<Rights, 'standing' | 'mayServe' | 'refusedToEverybody'>
  readonly callers: Pick<CallerProofs, 'identify' | 'proves' | 'isRefused' | 'refused'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly upstream: Pick<Upstream, 'getListing'>
  /** `skip`: the mirror leaves everything that is not public to the client. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** Whether the node has credentials of its own, whose rights all its clients have. */
  readonly hasCredentials: boolean
  /** Whether the daemon fetches from a registry, which then says by itself what a client may have. */
  readonly fetches: (registry: string) => boolean
}

/** As in RFC 7617. The client is asked for the credentials of the registry behind the mirror. */
export const CHALLENGE = { 'www-authenticate': 'Basic realm="nabo"' }

/**
 * With whose rights a client of the mirror is served, and when it is asked for its credentials: only when it sent none, nothing else
 * could give it what it asks for, and the registry refuses the repository without any. That something is not there is no refusal: an
 * upstream that knows nothing at all would make every pull fail. A client that has no credentials stops at a challenge, and one whose
 * credentials are wrong would only send them again: it is told 404, and goes on without the mirror.
 */
export class ClientAccess {
  readonly #options: ClientAccessOptions

  constructor(options: ClientAccessOptions) {
    this.#options = options
  }

  /** Runs `work` with the rights of a pull; without a caller with those that everybody on this node has. Throws OciError. */
  async serve<T>(
    pull: Pull,
    credential: PullCredential | undefined,
    signal: AbortSignal,
    work: (caller: Caller | undefined) => Promise<T>,
  ): Promise<T> {
    const caller = await this.#callerOf(pull, credential, signal)
    if (caller !== undefined) return this.#serveCaller(pull, caller, signal, work)
    try {
      return await work(undefined)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OciError) || error.status !== 404) throw error
      const asked = isDenied(error.cause) ? this.#asCaller(pull, credential) : undefined
      if (isDenied(error.cause)) await this.#deny(pull, signal)
      if (asked !== undefined) return this.#serveCaller(pull, asked, signal, work)
      throw await this.#refusal(error, pull, credential, signal)
    }
  }

  /** The repository may have been public when the registry was last asked, or credentials of the node be out of date. */
  async #deny(pull: Pull, signal: AbortSignal): Promise<void> {
    const { rights, hasCredentials } = this.#options
    if (hasCredentials) await rights.standing(pull.repository, pull, { signal, maxAge: 0 })
    else rights.refusedToEverybody(pull.repository)
  }

  async #serveCaller<T>(
    pull: Pull,
    caller: Caller,
    signal: AbortSignal,
    work: (caller: Caller | undefined) => Promise<T>,
  ): Promise<T> {
    const { callers, fetches } = this.#options
    // What a refused client is told must not depend on whether some node holds what it asks for.
    if (!fetches(pull.repository.registry)) await callers.proves(caller, pull.repository, pull, { signal })
    try {
      return await work(caller)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OciError) || error.status !== 404) throw error
      if (isDenied(error.cause)) callers.refused(caller, pull.repository)
      return this.#withoutCaller(error, pull, caller, signal, work)
    }
  }

  /** The client as itself, unless its registry has just refused it. `skip` looks at no credentials. */
  #asCaller({ repository }: Pull, credential: PullCredential | undefined): Caller | undefined {
    const { callers, policy } = this.#options
    if (credential === undefined || policy === 'skip') return undefined
    const caller = callers.identify(credential)
    return callers.isRefused(caller, repository) ? undefined : caller
  }

  /** A client that may not see something itself may still see what every client on this node may. Throws OciError. */
  async #withoutCaller<T>(
    failure: OciError,
    pull: Pull,
    caller: Caller,
    signal: AbortSignal,
    work: (caller: Caller | undefined) => Promise<T>,
  ): Promise<T> {
    const { callers, hasCredentials } = this.#options
    if (hasCredentials) {
      try {
        return await work(undefined)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof OciError) || error.status !== 404) throw error
      }
    }
    // One sentence for all that the registry refuses, whether it is there or not.
    throw callers.isRefused(caller, pull.repository) ? unseen(pull) : failure
  }

  /** A listing as the node, else as the client: the registry itself decides. Throws OciError. */
  async listing(
    repository: Repository,
    pathAndQuery: string,
    credential: PullCredential | undefined,
    signal: AbortSignal,
  ): Promise<UpstreamListing> {
    const ask = async (as: Exclude<UpstreamOptions['as'], undefined>) => {
      try {
        const listing = await this.#options.upstream.getListing(repository, pathAndQuery, { signal, as })
        return listing.status === 200 ? listing : absent(repository)
      } catch (cause) {
        signal.throwIfAborted()
        return new OciError('NAME_UNKNOWN', { message: errorText(cause), cause })
      }
    }
    const { policy } = this.#options
    const first = await ask(policy === 'skip' ? 'anonymous' : 'node')
    if (!(first instanceof OciError)) return first
    const denied = isDenied(first.cause)
    if (policy === 'skip' || (first.cause !== undefined && !denied)) throw first
    if (credential !== undefined) {
      const second = await ask(credential)
      if (!(second instanceof OciError)) return second
      throw denied ? absent(repository) : second
    }
    throw denied && policy === 'verify' ? challenge(repositoryKey(repository)) : first
  }

  async #callerOf(
    pull: Pull,
    credential: PullCredential | undefined,
    signal: AbortSignal,
  ): Promise<Caller | undefined> {
    const { policy, rights } = this.#options
    if (policy === 'skip') {
      if (await this.#isOpen(pull, signal)) return undefined
      throw unseen(pull)
    }
    if (credential === undefined) return undefined
    // Credentials are not looked at for a public repository, right or wrong.
    if ((await rights.standing(pull.repository, pull, { signal })) === 'public') return undefined
    return this.#asCaller(pull, credential)
  }

  /** Public, or put here by the node's owner. */
  async #isOpen({ repository, kind, reference }: Pull, signal: AbortSignal): Promise<boolean> {
    const { rights, tags } = this.#options
    const digest = parseDigest(reference)
    const isOurs =
      digest === undefined
        ? (await tags.resolveLocal({ ...repository, tag: reference }, PEER, signal)) !== undefined
        : await rights.mayServe(repository, { kind, digest }, PEER, { signal })
    // What this node fetches with its own credentials must be public now, not only a day ago.
    const options = { signal, maxAge: GRACE }
    return isOurs || (await rights.standing(repository, { kind, reference }, options)) === 'public'
  }

  async #refusal(
    failure: OciError,
    pull: Pull,
    credential: PullCredential | undefined,
    signal: AbortSignal,
  ): Promise<OciError> {
    const { policy, rights } = this.#options
    // An upstream that does not answer would not say more to this question.
    if (policy !== 'verify' || (failure.cause instanceof UpstreamError && !isDenied(failure.cause))) return failure
    if ((await rights.standing(pull.repository, pull, { signal })) !== 'closed') return failure
    return credential === undefined ? challenge(nameOf(pull)) : unseen(pull)
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof UpstreamError && error.reason === 'denied'
}

function challenge(name: string): OciError {
  const message = `${name} is not public: send the credentials of its registry, or pull it without the mirror`
  return new OciError('UNAUTHORIZED', { message, headers: CHALLENGE })
}

/** The same whether it is there for others or not at all. */
function unseen(pull: Pull): OciError {
  const message = `${nameOf(pull)}: ${pull.repository.registry} does not show it to this client`
  return new OciError(pull.kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', { message })
}

function absent(repository: Repository): OciError {
  return new OciError('NAME_UNKNOWN', { message: `${repositoryKey(repository)} does not exist at its registry` })
}

function nameOf({ repository, reference }: Pull): string {
  const digest: Digest | undefined = parseDigest(reference)
  return `${repositoryKey(repository)}${digest === undefined ? ':' : '@'}${reference}`
}
