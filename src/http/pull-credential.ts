import { decodeBasic } from '../upstream/basic-credential.ts'
import type { PullCredential } from '../upstream/upstream.ts'

/** Cap on the header, in characters: longer than any key or token that registries give out, and shorter than the head of a request may be. */
const MAX_LENGTH = 24 * 1024
const FORM = /^basic +([A-Za-z0-9+/_-]+={0,2})$/i

/**
 * What an `Authorization: Basic` header says; undefined for anything else. A bearer token is made out for one registry's own address and
 * scope: a mirror has no use for it, and must not pass it on.
 */
export function readPullCredential(header: string | undefined): PullCredential | undefined {
  if (header === undefined || header.length > MAX_LENGTH) return undefined
  const encoded = FORM.exec(header.trim())?.[1]
  return encoded === undefined ? undefined : decodeBasic(encoded)
}
