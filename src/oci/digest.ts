import { createHash } from 'node:crypto'

declare const brand: unique symbol

/**
 * A content digest such as `sha256:9f86d0…`, always well formed and lower case.
 * Only {@link parseDigest} and {@link digestOf} make one, so a digest is safe inside a file path.
 */
export type Digest = string & { readonly [brand]: 'Digest' }

export type DigestAlgorithm = 'sha256' | 'sha512'

const HEX_LENGTH: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 }

/** Reads a digest of a registered algorithm; undefined for anything else. */
export function parseDigest(text: string): Digest | undefined {
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(text)
  if (match === null) return undefined
  return match[2]?.length === HEX_LENGTH[match[1] as DigestAlgorithm] ? (text as Digest) : undefined
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** The part after the colon. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** Hashes `bytes`. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest
}

/** True if `bytes` are what `digest` names. */
export function matchesDigest(bytes: Uint8Array, digest: Digest): boolean {
  return digestOf(bytes, digestAlgorithm(digest)) === digest
}
