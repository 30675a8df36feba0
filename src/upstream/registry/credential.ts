import { createHash } from 'node:crypto'

import type { Repository } from '../../oci/reference.ts'
import type { PullCredential } from '../upstream.ts'

/** What a registry lets somebody in with. */
export type Credential = PullCredential | IdentityToken | RegistryToken

/** An OAuth2 refresh token: only ever sent to the token realm, which gives access tokens for it. */
export interface IdentityToken {
  readonly identityToken: string
  /** Empty unless the file says one. For realms that know no POST. */
  readonly username: string
}

/** A bearer token that the registry takes as it is. */
export interface RegistryToken {
  readonly registryToken: string
}

/** Finds the credential for a repository; undefined if there is none. Rejects with nothing but the signal's reason. */
export type FindCredential = (
  repository: Repository,
  options: { signal: AbortSignal },
) => Promise<Credential | undefined>

/**
 * Names a credential where its secret must not stand, such as in the keys of a cache. For memory only: who sees it can try out
 * passwords.
 */
export function credentialId(credential: Credential): string {
  return createHash('sha256')
    .update(JSON.stringify(credential, ['username', 'password', 'encoding', 'identityToken', 'registryToken']))
    .digest('base64url')
}

/** The `Authorization` header that says a user and a password (RFC 7617). */
export function basicHeader({ username, password, encoding }: PullCredential): string {
  return `Basic ${Buffer.from(`${username}:${password}`, encoding ?? 'utf8').toString('base64')}`
}

/** True for what a header can carry as a bearer token: anything else would break the request that it is in. */
export function isBearerToken(text: string): boolean {
  return /^[\x21-\x7e]{1,65536}$/.test(text)
}
