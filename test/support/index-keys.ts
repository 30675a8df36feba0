import { createHash } from 'node:crypto'

import { parseDigest } from '../../src/oci/digest.ts'
import type { IndexKey } from '../../src/overlay/overlay.ts'
import { keyOfDigest } from '../../src/providers/index-key.ts'

/** The key of made-up content; the same name makes the same key. */
export function keyNamed(name: string | number): IndexKey {
  const digest = parseDigest(`sha256:${createHash('sha256').update(String(name)).digest('hex')}`)
  if (digest === undefined) throw new Error('not a digest')
  return keyOfDigest(digest)
}

export function keysNamed(prefix: string, count: number): IndexKey[] {
  return Array.from({ length: count }, (_, index) => keyNamed(`${prefix}-${index}`))
}
