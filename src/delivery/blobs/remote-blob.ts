import type { Digest } from '../../oci/digest.ts'
import { ResumingStream, type SourceStream } from './resuming-stream.ts'
import type { SourceSearch } from './source-search.ts'
import type { HandOut, Suspects } from '../integrity/suspects.ts'
import type { TransferOrigin, TransferRecord } from './transfer-record.ts'
import { verifiedChunks, WrongBytesError } from '../integrity/verified-stream.ts'

export interface RemoteBlobOptions {
  readonly digest: Digest
  readonly start: number
  readonly serves: boolean
  readonly hashes?: boolean
  /** The byte after the last one that is wanted; absent: all from `start` on. */
  readonly end?: number | undefined
  readonly signal: AbortSignal
  readonly first: SourceStream
  readonly search: SourceSearch
  readonly handOut: HandOut
  readonly suspects: Suspects
}

/** A blob on its way here, from sources that may change. Read it or cancel it: its place in the swarm is kept until then. */
export class RemoteBlob {
  readonly #options: RemoteBlobOptions
  readonly #stream: ResumingStream

  constructor(options: RemoteBlobOptions) {
    this.#options = options
    const { first, start, signal, search, handOut } = options
    handOut.sized(first.size)
    this.#stream = new ResumingStream({
      first,
      start,
      signal,
      reopen: (position, broken) => search.resume(position, broken, signal),
      onChunk: (bytes, position, peer) => {
        handOut.sent(peer === undefined ? undefined : search.senders.get(peer), bytes)
        search.progress(position)
      },
      onEnd: (reachedEnd) => {
        handOut.end()
        search.end({ reachedEnd })
      },
    })
    search.onRecall(() => this.#stream.recall())
  }

  /** Of the whole blob, in bytes. */
  get size(): number {
    return this.#stream.size
  }

  get record(): TransferRecord {
    return this.#stream.record
  }

  /** The delivery from the registry; undefined if any source was a peer. */
  get fromRegistry(): SourceSearch['fromRegistry'] {
    return this.#options.search.fromRegistry
  }

  /** Where the next bytes come from. */
  get origin(): TransferOrigin {
    return this.#stream.origin
  }

  /** The bytes up to `end` (exclusive). Can be read once. Throws BrokenTransferError, and WrongBytesError if they had to be hashed. */
  chunks(end: number): AsyncIterable<Uint8Array> {
    const { handOut, serves, start, end: asked, hashes = false } = this.#options
    if (serves) handOut.committing()
    const isHashed = handOut.caution === 'hash' || (hashes && start === 0 && asked === undefined)
    return isHashed ? this.#verified() : this.#stream.chunks(end)
  }

  /** Ends the transfer early. */
  cancel(): void {
    this.#stream.cancel()
  }

  /** Takes it that the bytes that came proved wrong: their senders are avoided. */
  blame(): void {
    const { suspects, digest } = this.#options
    const senders = this.#senders()
    const alone = senders.length === 1 && this.record.shares.every(({ source }) => source === 'peer')
    suspects.wrong(digest, senders, { alone })
  }

  async *#verified(): AsyncGenerator<Uint8Array> {
    const { suspects, digest, hashes = false } = this.#options
    const chunks = this.#stream.chunks(this.size)
    const senders = () => this.#senders()
    const onVerified = () => {
      suspects.verified(digest, senders())
      // Otherwise the client's store hashes it, and asks again if the bytes are wrong there.
      if (hashes) suspects.notKept(digest)
    }
    try {
      yield* verifiedChunks(chunks, { digest, size: this.size, senders, onVerified })
    } catch (error) {
      if (error instanceof WrongBytesError) this.blame()
      throw error
    }
  }

  #senders() {
    const addresses = new Set(this.record.shares.flatMap(({ peer }) => peer ?? []))
    return [...addresses].flatMap((address) => this.#options.search.senders.get(address) ?? [])
  }
}
