import { type Repository, canonicalRegistry } from '../../oci/reference.ts'
import type { Log } from '../../telemetry/log.ts'
import { clockAheadOf } from '../../time/clock-ahead.ts'
import { abortable } from '../../time/deadline.ts'
import type { QuotaGate } from '../quota/quota-gate.ts'
import { UpstreamError, type UpstreamOptions } from '../upstream.ts'
import { type Address, nameAt } from './addresses.ts'
import { type Asker, asVerdict, type Authorization, type Authorized, isPassword } from './authorization.ts'
import { discard } from './bodies.ts'
import { type Credential, type FindCredential, credentialId } from './credential.ts'
import type { CredentialTroubles } from './credential-troubles.ts'
import { explainRefusal } from './explain-refusal.ts'
import { HeadSupport, isUnsupported } from './head-support.ts'
import { Health } from './health.ts'
import type { HttpClient, HttpResponse } from './http-client.ts'
import { NodeOrNobody } from './node-or-nobody.ts'
import { notShown } from './redirect-tokens.ts'
import { refusalOf } from './refusal.ts'

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD'
  /** Below the repository's path, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /**
   * Of a HEAD: the headers of the GET that is sent where HEAD is not answered. If absent, no GET is sent, and a 403 of the address is `failed`, not
   * `denied`: some addresses answer HEAD with 403 for what a GET shows to anybody.
   */
  readonly orGet?: Readonly<Record<string, string>> | undefined
}

/** An answer that is a success or 404, and whether it was had without credentials. */
export interface RegistryAnswer {
  readonly response: HttpResponse
  /** GET, and a body to read or destroy, also for a HEAD that the address does not answer. */
  readonly method: 'GET' | 'HEAD'
  /** The name of the address that was asked, wherever it sent on to. */
  readonly address: string
  readonly anonymous: boolean
}

/** Called for every answer, for metrics. */
export type ObserveRequest = (event: { registry: string; method: string; kind: string; outcome: string }) => void

export interface AddressClientOptions {
  readonly http: HttpClient
  readonly authorization: Authorization
  readonly findCredential: FindCredential
  readonly observe: ObserveRequest
  /** Nobody counts pulls if absent. */
  readonly quota?: Pick<QuotaGate, 'mayGet' | 'observe' | 'refusalOf'> | undefined
  /** Told of credentials that a registry accepts, and says which ones it has refused. */
  readonly troubles?: Pick<CredentialTroubles, 'accepted' | 'isRefused'> | undefined
  readonly log?: Pick<Log, 'warn'> | undefined
}

interface AskOptions extends UpstreamOptions {
  readonly health: Health
}

const MAX_AUTH_ROUNDS = 2
const MAX_LINKS_REFUSED = 1
/** How often one request is sent again with a token for a place that its registry sends on to: one redirect may lead to the next. */
const MAX_REDIRECT_ROUNDS = 2

/** Asks one address of a registry with the right token and credentials. */
export class AddressClient {
  readonly #options: AddressClientOptions
  readonly #nodeOrNobody: NodeOrNobody
  readonly #heads = new HeadSupport()

  constructor(options: AddressClientOptions) {
    this.#options = options
    this.#nodeOrNobody = new NodeOrNobody(options)
  }

  /** Answers with 200, 206 or 404. Throws UpstreamError for everything else. `health` is written to as things come to light. */
  async ask(
    address: Address,
    repository: Repository,
    asked: RegistryRequest,
    options: AskOptions,
  ): Promise<RegistryAnswer> {
    const credential = await this.#credentialAt(address, repository, options)
    const isNodes = typeof options.as !== 'object'
    const asker = { address, repository, credential, isNodes }
    return credential === undefined || !isNodes
      ? this.#askOrGet(asker, asked, options)
      : this.#nodeOrNobody.ask(asker, (as) => this.#askOrGet(as, asked, options))
  }

  /** Sends a GET where a HEAD is not answered, if the request allows it. What a GET does not show either stays refused. */
  async #askOrGet(asker: Asker, asked: RegistryRequest, options: AskOptions): Promise<RegistryAnswer> {
    if (asked.method === 'GET') return this.#ask(asker, asked, options)
    const question = { ...asker, kind: asked.path.split('/')[0] ?? '' }
    const { orGet } = asked
    const get: RegistryRequest | undefined = orGet && { method: 'GET', path: asked.path, headers: orGet }
    if (get !== undefined && this.#heads.needsGet(question)) return this.#ask(asker, get, options)
    try {
      return await this.#ask(asker, asked, options)
    } catch (error) {
      if (!this.#heads.isWorthGet(question, error, options.health.status)) throw error
      if (get === undefined) throw withoutGet(error, asker.address)
      return this.#askInstead(question, get, error, options)
    }
  }

  async #askInstead(
    question: Asker & { readonly kind: string },
    get: RegistryRequest,
    refusal: UpstreamError,
    options: AskOptions,
  ): Promise<RegistryAnswer> {
    const isRefusal = !isUnsupported(refusal.status)
    let answer: RegistryAnswer
    try {
      answer = await this.#ask(question, get, options)
    } catch (error) {
      if (!isRefusal || !(error instanceof UpstreamError && error.reason === 'denied')) throw error
      this.#heads.getShowedNothing(question)
      throw refusal
    }
    if (isRefusal && answer.response.status === 404) {
      // So some registries hide what they deny.
      await discard(answer.response)
      this.#heads.getShowedNothing(question)
      throw refusal
    }
    this.#heads.getWorked(question)
    return answer
  }

  async #ask(asker: Asker, asked: RegistryRequest, options: AskOptions): Promise<RegistryAnswer> {
    const { authorization, quota } = this.#options
    const { signal, health } = options
    const { address } = asker
    const isCounted = asked.method === 'GET' && asked.path.startsWith('manifests/')
    if (isCounted)
      await quota?.mayGet(seatOf(asker), (signal) => this.#probe(asker, asked, { ...options, signal }), { signal })
    let linksRefused = 0
    let redirectRounds = 0
    for (let round = 0; ;) {
      health.status = 'waiting'
      const authorized = await authorization.of(asker, { signal })
      const response = await this.#send(asker, asked, authorized, options)
      const { status } = response
      if (response.url.origin !== address.url.origin && (status === 401 || status === 403)) {
        await discard(response)
        const { url } = response
        if (status === 401 && authorization.redirects.refused(asker, url, response.header('www-authenticate'))) {
          redirectRounds += 1
          if (redirectRounds > MAX_REDIRECT_ROUNDS) throw notShown(asker, url, `it answered ${status}`)
          continue
        }
        // A CDN speaks of the signature in its URL, not of our rights: the registry gives a new one.
        linksRefused += 1
        if (linksRefused > MAX_LINKS_REFUSED)
          throw new UpstreamError('failed', `${url.host} answered ${status}`, { status })
        continue
      }
      if ([200, 206, 404].includes(status)) {
        if (!authorized.anonymous) this.#options.troubles?.accepted(asker)
        return { response, method: asked.method, address: address.name, anonymous: authorized.anonymous }
      }
      round += 1
      if (status === 401 && round < MAX_AUTH_ROUNDS) {
        await discard(response)
        if (authorization.refused(asker, authorized, response.header('www-authenticate'))) continue
      } else if (status === 401) authorization.passwordRefused(asker, authorized)
      const isWrong = status === 401 && isPassword(authorized)
      const shown = { ...asker, credential: authorized.anonymous ? undefined : asker.credential }
      const refusal = explainRefusal(await refusalOf(response, isCounted, health), shown, isWrong)
      const error = asVerdict(refusal, authorized)
      throw (status === 429 && isCounted ? quota?.refusalOf(seatOf(asker)) : undefined) ?? error
    }
  }

  /** A HEAD for what is going to be asked by GET: it costs nothing, and its headers say what a GET would meet. */
  async #probe(asker: Asker, asked: RegistryRequest, options: UpstreamOptions): Promise<void> {
    const health = new Health()
    try {
      const { response } = await this.#ask(asker, { ...asked, method: 'HEAD' }, { ...options, health })
      await discard(response)
    } finally {
      health.end()
    }
  }

  async #send(
    asker: Asker,
    asked: RegistryRequest,
    authorized: Authorized,
    { signal, health }: { signal: AbortSignal; health: Health },
  ): Promise<HttpResponse> {
    const { registry, url: base } = asker.address
    const { header } = authorized
    const kind = asked.path.split('/')[0] ?? ''
    const event = { registry, method: asked.method, kind }
    const url = new URL(`${nameAt(asker.address, asker.repository)}/${asked.path}`, asker.address.api)
    health.status = 'connecting'
    const began = Date.now()
    try {
      const response = await this.#options.http.request(url, {
        registry,
        method: asked.method,
        headers: header === undefined ? asked.headers : { ...asked.headers, authorization: header },
        signal,
        onSent: () => {
          health.status = 'waiting'
        },
        authorizeAt: (target) => this.#options.authorization.redirects.of(asker, target, { signal }),
        onAnswer: (status) => {
          health.status = status
        },
      })
      this.#options.observe({ ...event, outcome: String(response.status) })
      if (response.url.origin === base.origin) {
        noteClock(asker.address, response, began)
        const seat = seatOf(asker)
        const { status } = response
        this.#options.quota?.observe(authorized.anonymous ? { ...seat, account: undefined } : seat, kind, {
          method: asked.method,
          status,
          header: (name: string) => withoutSecrets(response.header(name), asker.credential, header),
        })
      }
      return response
    } catch (error) {
      this.#options.observe({ ...event, outcome: error instanceof UpstreamError ? error.reason : 'aborted' })
      throw error
    }
  }

  /**
   * Credentials go only to the address they are for: a mirror in another domain gets those kept under its own name, if any. So does a
   * registry that --upstream has put elsewhere (a proxy cache), and the registry's own if there are none under that name.
   */
  async #credentialAt(
    address: Address,
    repository: Repository,
    options: UpstreamOptions,
  ): Promise<Credential | undefined> {
    if (options.as === 'anonymous') return undefined
    // Those of a pull are for the registry that the client named.
    if (typeof options.as === 'object') return address.isOwn ? options.as : undefined
    const there = { registry: canonicalRegistry(address.url.host), name: nameAt(address, repository) }
    const find = (at: Repository) => abortable(this.#options.findCredential(at, options), options.signal)
    if (!address.isOwn) return find(there)
    return (address.isElsewhere ? await find(there) : undefined) ?? find(repository)
  }
}

/** Names the flag that keeps a GET from being sent. */
function withoutGet({ status }: UpstreamError, { name, registry }: Address): UpstreamError {
  const message = `${name} answers HEAD with ${status}, and no GET is sent: --fallback leaves ${registry} out`
  return new UpstreamError('failed', message, { status })
}

function seatOf({ address, credential }: Asker) {
  return {
    registry: address.registry,
    host: address.name,
    credentialId: credential && credentialId(credential),
    account:
      credential !== undefined && 'username' in credential && isPrintable(credential.username)
        ? credential.username
        : undefined,
  }
}

/** The name of an account is shown, and told to other nodes: one that is no plain text counts as none. */
function isPrintable(username: string): boolean {
  return /^[\x20-\x7e]+$/.test(username)
}

/** Whom a registry counts is shown: one that sends back the secret it was sent names nobody. */
function withoutSecrets(
  text: string | undefined,
  credential: Credential | undefined,
  authorization: string | undefined,
): string | undefined {
  const { username: _, encoding: __, ...values } = { username: '', encoding: undefined, ...credential }
  const secrets = [...Object.values(values), ...(authorization?.split(' ').slice(1) ?? [])]
  return text !== undefined && secrets.some((secret) => secret !== '' && text.includes(secret)) ? undefined : text
}

/** `began`: when the request was sent, in milliseconds since the epoch. */
function noteClock(address: Address, response: HttpResponse, began: number): void {
  // A cache on the way sends the date of the answer that it keeps.
  if (response.header('age') !== undefined) return
  const ahead = clockAheadOf(response.header('date'), began, Date.now())
  if (ahead !== undefined) address.clock = { ahead, at: performance.now() }
}
