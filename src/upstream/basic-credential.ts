import { isUtf8 } from 'node:buffer'

import type { PullCredential } from './upstream.ts'

/**
 * Reads the base64 of `user:password` (RFC 7617). Either may be empty, and a password may hold anything: the JSON key of a service account has
 * line breaks. Bytes that are not UTF-8 are kept as they are. undefined without a colon, and if both are empty, which is how some clients say
 * that they have no credentials.
 */
export function decodeBasic(encoded: string): PullCredential | undefined {
  const bytes = Buffer.from(encoded, 'base64')
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1'
  const text = bytes.toString(encoding)
  const colon = text.indexOf(':')
  if (colon < 0 || text === ':') return undefined
  const credential = { username: text.slice(0, colon), password: text.slice(colon + 1) }
  return encoding === 'utf8' ? credential : { ...credential, encoding }
}
