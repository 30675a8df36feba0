import type { Digest } from '../../oci/digest.ts'
import { parseDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import { errorText } from '../../telemetry/log.ts'
import {
  type PullCredential,
  type TokenError,
  type Upstream,
  UpstreamError,
  type UpstreamListing,
  type UpstreamOptions,
} from '../../upstream/upstream.ts'
import type { TagResolver } from '../tags/tag-resolver.ts'
import { type Caller, GRACE, PEER, type Probe } from './audience.ts'
import type { CallerProofs, Refusal } from './caller-proofs.ts'
import type { Rights } from './rights.ts'

/** A client's request for a manifest or blob. */
export interface Pull extends Probe {
  readonly repository: Repository
}

export interface ClientAccessOptions {
  readonly rights: Pick<Rights, 'standing' | 'mayServe' | 'refusedToEverybody'>
  readonly callers: Pick<CallerProofs, 'identify' | 'proves' | 'refusal' | 'refused'>
  readonly tags: Pick<TagResolver, 'resolveLocal'>
  readonly upstream: Pick<Upstream, 'getListing'>
  /** `skip`: the mirror serves public and imported content only. */
  readonly policy: 'verify' | 'share' | 'skip'
  /** True if the node has its own registry credentials; all its clients then have their rights. */
  readonly hasCredentials: boolean
  /** True for registries in `--fallback`: the fetch itself checks the client's rights. */
  readonly fetches: (registry: string) => boolean
}

/** RFC 7617. Asks for the credentials of the upstream registry, not of the mirror. */
export const CHALLENGE = { 'www-authenticate': 'Basic realm="nabo"' }

/** As containerd says it, so that a pod's event reads the same whoever refused. */
const DENIED = 'pull access denied, repository does not exist or may require authorization'

/**
 * Chooses the rights for a request to the mirror, and decides when to answer 401. A challenge needs three facts: the client sent no
 * credentials, the content is not available otherwise, and the registry refuses the repository to anonymous requests. A 404 of the
 * upstream is no refusal: an empty upstream would turn every pull into a challenge, at which clients without credentials stop. A client
 * with wrong credentials gets 404, so that it continues without the mirror.
 */
export class ClientAccess {
  readonly #options: ClientAccessOptions

  constructor(options: ClientAccessOptions) {
    this.#options = options
  }

  /** Runs `work` with the caller of a pull, or without a caller: then `work` uses the rights that all clients of this node have. Throws OciError. */
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

  /** Updates the verdict after a denied fetch: the repository was closed, or the node's credentials expired. */
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
    // The answer to a refused client must not reveal whether some node holds the content.
    if (!fetches(pull.repository.registry)) await callers.proves(caller, pull.repository, pull, { signal })
    try {
      return await work(caller)
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OciError) || error.status !== 404) throw error
      if (isDenied(error.cause)) callers.refused(caller, pull.repository, error.cause)
      return this.#withoutCaller(error, pull, caller, signal, work)
    }
  }

  /** The caller with its own credentials, unless the registry refused it within the last minute. `skip` ignores credentials. */
  #asCaller({ repository }: Pull, credential: PullCredential | undefined): Caller | undefined {
    const { callers, policy } = this.#options
    if (credential === undefined || policy === 'skip') return undefined
    const caller = callers.identify(credential)
    return callers.refusal(caller, repository) === undefined ? caller : undefined
  }

  /** Retries with the rights that all clients of this node have. Throws OciError. */
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
    // The same message whether or not the content exists.
    const refusal = callers.refusal(caller, pull.repository)
    throw refusal === undefined ? failure : unseen(pull, refusal)
  }

  /** A listing with the node's credentials, else with the client's; the registry decides. Throws OciError. */
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
    throw denied && policy === 'verify' ? challenge(repositoryKey(repository), first.cause) : first
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
    // A public repository needs no credentials, so wrong ones do no harm.
    if ((await rights.standing(pull.repository, pull, { signal })) === 'public') return undefined
    return this.#asCaller(pull, credential)
  }

  /** True if the content is public or imported. */
  async #isOpen({ repository, kind, reference }: Pull, signal: AbortSignal): Promise<boolean> {
    const { rights, tags } = this.#options
    const digest = parseDigest(reference)
    const isOurs =
      digest === undefined
        ? (await tags.resolveLocal({ ...repository, tag: reference }, PEER, signal)) !== undefined
        : await rights.mayServe(repository, { kind, digest }, PEER, { signal })
    // The node may fetch with its own credentials, so a public answer from hours ago is not enough.
    const options = { signal, maxAge: GRACE }
    return isOurs || (await rights.standing(repository, { kind, reference }, options)) === 'public'
  }

  async #refusal(
    failure: OciError,
    pull: Pull,
    credential: PullCredential | undefined,
    signal: AbortSignal,
  ): Promise<OciError> {
    const { policy, rights, callers } = this.#options
    // An upstream that just failed would not answer this question either.
    if (policy !== 'verify' || (failure.cause instanceof UpstreamError && !isDenied(failure.cause))) return failure
    if ((await rights.standing(pull.repository, pull, { signal })) !== 'closed') return failure
    if (credential === undefined) return challenge(nameOf(pull), failure.cause)
    return unseen(pull, callers.refusal(callers.identify(credential), pull.repository))
  }
}

/** The registry does not show the content to the client, or nobody else may see it here. */
export class NotShownError extends Error {
  override readonly name = 'NotShownError'
  /** The code with which the registry refused it to the client, if it did. */
  readonly tokenError: TokenError | undefined

  constructor(message: string, { tokenError }: Partial<Refusal> = {}) {
    super(message)
    this.tokenError = tokenError
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof UpstreamError && error.reason === 'denied'
}

/** `cause`: the registry's refusal, if this request has met it. */
function challenge(name: string, cause: unknown): OciError {
  const refusal = cause instanceof UpstreamError && isDenied(cause) ? cause : undefined
  // DENIED explains a refusal already.
  const said = refusal?.isNodeRefused === true ? refusal.message : refusal?.brief
  return new OciError('UNAUTHORIZED', {
    message: `${name}: ${DENIED}: ${said ?? 'its registry shows it to nobody without credentials'}`,
    headers: CHALLENGE,
    ...(refusal?.isNodeRefused === true ? { detail: { isNodeRefused: true } } : {}),
  })
}

/** The same message whether or not the content exists. */
function unseen(pull: Pull, refusal?: Refusal): OciError {
  const message = `${nameOf(pull)}: ${DENIED}: ${pull.repository.registry} does not show it to this client`
  return new OciError(pull.kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', {
    message,
    cause: new NotShownError(message, refusal),
  })
}

function absent(repository: Repository): OciError {
  return new OciError('NAME_UNKNOWN', { message: `${repositoryKey(repository)} does not exist at its registry` })
}

function nameOf({ repository, reference }: Pull): string {
  const digest: Digest | undefined = parseDigest(reference)
  return `${repositoryKey(repository)}${digest === undefined ? ':' : '@'}${reference}`
}
