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
import { type Caller, PEER } from './audience.ts'
import type { Callers, Pull } from './callers.ts'
import type { TagResolver } from '../tags/tag-resolver.ts'
import type { Visibility } from './visibility.ts'

export interface PrivateImagesOptions {
  readonly visibility: Pick<Visibility, 'standing' | 'mayServe' | 'knownVerdict'>
  readonly callers: Pick<Callers, 'admit' | 'refused'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly upstream: Pick<Upstream, 'getListing'>
  /** `skip`: the mirror has nothing to do with what is not public. */
  readonly policy: 'verify' | 'share' | 'skip'
}

/** In the words of RFC 7617. What is asked for are the credentials of the registry that is behind the mirror. */
export const CHALLENGE = { 'www-authenticate': 'Basic realm="nabo"' }

/**
 * With whose rights a client of the mirror is served, and when it is asked for its credentials: only when it sent none, nothing else
 * could give it what it asks for, and the registry refuses the repository without any. That something is not there is no refusal: an
 * upstream that knows nothing at all would make every pull fail. A client that has no credentials stops at a challenge, and one whose
 * credentials are wrong would only send them again: it is told 404, and goes on without the mirror.
 */
export class PrivateImages {
  readonly #options: PrivateImagesOptions

  constructor(options: PrivateImagesOptions) {
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
    try {
      return await work(caller)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OciError) || error.status !== 404) throw error
      if (caller === undefined) throw await this.#refusal(error, pull, credential, signal)
      if (isDenied(error.cause)) this.#options.callers.refused(caller, pull.repository)
      throw error
    }
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
    const { policy, callers, visibility } = this.#options
    if (policy === 'skip') {
      if (await this.#isOpen(pull, signal)) return undefined
      throw unseen(pull)
    }
    if (credential === undefined) return undefined
    // Credentials for what is public are nobody's business here, right or wrong.
    if ((await visibility.standing(pull.repository, pull, { signal })) === 'public') return undefined
    return callers.admit(pull, credential, { signal })
  }

  /** Public, or put here by the node's owner. */
  async #isOpen({ repository, kind, reference }: Pull, signal: AbortSignal): Promise<boolean> {
    const { visibility, tags } = this.#options
    if (visibility.knownVerdict(repository) === true) return true
    const digest = parseDigest(reference)
    const isOurs =
      digest === undefined
        ? (await tags.resolveLocal({ ...repository, tag: reference }, PEER, signal)) !== undefined
        : await visibility.mayServe(repository, { kind, digest }, PEER, { signal })
    return isOurs || (await visibility.standing(repository, { kind, reference }, { signal })) === 'public'
  }

  async #refusal(
    failure: OciError,
    pull: Pull,
    credential: PullCredential | undefined,
    signal: AbortSignal,
  ): Promise<OciError> {
    const { policy, visibility } = this.#options
    // An upstream that does not answer would not say more to this question.
    if (policy !== 'verify' || (failure.cause instanceof UpstreamError && !isDenied(failure.cause))) return failure
    if ((await visibility.standing(pull.repository, pull, { signal })) !== 'closed') return failure
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
