import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import type { HubUser } from './hub.ts'
import type { Ledger } from './ledger.ts'
import { sendJson } from './respond.ts'

/** What a token allows. */
export interface Grant {
  readonly user: string | undefined
  /** Names of repositories. */
  readonly mayPull: readonly string[]
}

export type TokenVerdict = { readonly type: 'valid'; readonly grant: Grant } | { readonly type: 'missing' | 'invalid' }

export const TOKEN_SERVICE = 'registry.docker.io'
/** What the absence of `expires_in` means: https://distribution.github.io/distribution/spec/auth/token/ */
const DEFAULT_SECONDS = 60

interface TokenOptions {
  readonly users: readonly HubUser[]
  readonly privateRepositories: readonly string[]
  readonly tokenSeconds: number
}

/** The token server. Anybody gets a token; what it allows depends on the user. */
export class Tokens {
  readonly #options: TokenOptions
  readonly #ledger: Ledger
  readonly #repositoryExists: (name: string) => boolean
  readonly #issued = new Map<string, Grant & { readonly expires: number }>()

  constructor(options: TokenOptions, ledger: Ledger, repositoryExists: (name: string) => boolean) {
    this.#options = options
    this.#ledger = ledger
    this.#repositoryExists = repositoryExists
  }

  /** Answers `GET /token?service=…&scope=…`. */
  answer(req: IncomingMessage, res: ServerResponse): void {
    const url = new URL(req.url ?? '/', 'http://hub')
    if (url.pathname !== '/token') return sendJson(req, res, 404, { details: 'not found' })
    if (req.method !== 'GET') return sendJson(req, res, 405, { details: 'method not allowed' })
    if (url.searchParams.get('service') !== TOKEN_SERVICE)
      return sendJson(req, res, 400, { details: 'unknown service' })
    const user = this.#userOf(req)
    if (user === 'wrong') return sendJson(req, res, 401, { details: 'incorrect username or password' })
    this.#ledger.count('tokens')
    const names = url.searchParams.getAll('scope').flatMap((scopes) => scopes.split(' ').flatMap(pullScope))
    const token = randomBytes(24).toString('base64url')
    const seconds = this.#options.tokenSeconds
    this.#issued.set(token, {
      user: user?.name,
      mayPull: names.filter((name) => this.#allows(user, name)),
      expires: Date.now() + (seconds === 0 ? DEFAULT_SECONDS : seconds) * 1000,
    })
    const expiry = seconds === 0 ? {} : { expires_in: seconds }
    sendJson(req, res, 200, { token, access_token: token, ...expiry, issued_at: new Date().toISOString() })
  }

  /** Reads the Authorization header of a request to the registry. */
  check(req: IncomingMessage): TokenVerdict {
    const header = req.headers.authorization
    if (header === undefined) return { type: 'missing' }
    const token = /^bearer (\S+)$/i.exec(header)?.[1]
    const grant = token === undefined ? undefined : this.#issued.get(token)
    return grant === undefined || grant.expires <= Date.now() ? { type: 'invalid' } : { type: 'valid', grant }
  }

  /** Makes every token that was given out worthless. */
  revokeAll(): void {
    this.#issued.clear()
  }

  #userOf(req: IncomingMessage): HubUser | 'wrong' | undefined {
    const header = req.headers.authorization
    if (header === undefined) return undefined
    const basic = /^basic (\S+)$/i.exec(header)?.[1] ?? ''
    const text = Buffer.from(basic, 'base64').toString('utf8')
    return this.#options.users.find((user) => `${user.name}:${user.password}` === text) ?? 'wrong'
  }

  #allows(user: HubUser | undefined, name: string): boolean {
    if (!this.#repositoryExists(name)) return false
    return !this.#options.privateRepositories.includes(name) || user?.mayPull?.includes(name) === true
  }
}

function pullScope(scope: string): string[] {
  const name = /^repository:([^:]+):(?:[^:]*,)?pull(?:,[^:]*)?$/.exec(scope)?.[1]
  return name === undefined ? [] : [name]
}
