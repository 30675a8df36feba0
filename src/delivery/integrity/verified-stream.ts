import { createHash } from 'node:crypto'

import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import type { Sender } from '../blobs/blob-trace.ts'

/** The whole blob came, and it is not what its digest names. */
export class WrongBytesError extends Error {
  override readonly name = 'WrongBytesError'
  /** Who sent some of it; empty if all came from the upstream. */
  readonly senders: readonly Sender[]

  constructor(digest: Digest, senders: readonly Sender[]) {
    super(`the bytes are not those of ${digest}`)
    this.senders = senders
  }
}

export interface VerifiedOptions {
  readonly digest: Digest
  /** Of the whole blob, in bytes. */
  readonly size: number
  /** Asked once all bytes have come. */
  senders(): readonly Sender[]
  /** Told when the hash was right, before the last chunk goes on. */
  onVerified?(): void
}

/**
 * Passes a whole blob on from byte 0 and hashes it on the way. Its last chunk is held back until the hash is right, so that wrong
 * bytes never look complete. Chunks must be buffers of their own. Throws WrongBytesError, and what `chunks` throws.
 *
 * A part of a blob proves nothing: the rest of a suspect blob (`elsewhere`, see `Caution`) has to come from somebody else.
 */
export async function* verifiedChunks(
  chunks: AsyncIterable<Uint8Array>,
  options: VerifiedOptions,
): AsyncGenerator<Uint8Array> {
  const hash = createHash(digestAlgorithm(options.digest))
  let length = 0
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue
    hash.update(chunk)
    length += chunk.length
    if (length > options.size) throw new WrongBytesError(options.digest, options.senders())
    if (held !== undefined) yield held
    held = chunk
  }
  if (length !== options.size || hash.digest('hex') !== digestHex(options.digest)) {
    throw new WrongBytesError(options.digest, options.senders())
  }
  options.onVerified?.()
  if (held !== undefined) yield held
}
