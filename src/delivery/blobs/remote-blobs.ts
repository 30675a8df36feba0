import { OciError } from '../../oci/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { BlobRequest } from './blob-request.ts'
import type { BlobSources } from './blob-sources.ts'
import { RemoteBlob } from './remote-blob.ts'
import { SourceSearch, type SourceSearchOptions } from './source-search.ts'
import type { Suspects } from '../integrity/suspects.ts'

export interface RemoteBlobsOptions extends SourceSearchOptions {
  readonly sources: BlobSources
  readonly suspects: Suspects
}

export interface OpenOptions {
  /** The first byte that is wanted. */
  readonly start: number
  /** The byte after the last one that is wanted; undefined: all from `start` on. It may be past the end. */
  readonly end: number | undefined
  /** Whether others can read what arrives while it grows here. */
  readonly serves: boolean
  /** Whether a whole blob is hashed on its way, since nobody else on this node hashes it. */
  readonly hashes?: boolean
  readonly signal: AbortSignal
}

/** Blobs from elsewhere: where the swarm says, else from neighbours that hold them, the upstream last where the registry falls back. */
export class RemoteBlobs {
  readonly #options: RemoteBlobsOptions

  constructor(options: RemoteBlobsOptions) {
    this.#options = options
  }

  /** Opens a blob. Throws OciError if no source delivers it. */
  async open(request: BlobRequest, options: OpenOptions): Promise<RemoteBlob> {
    const { suspects } = this.#options
    const handOut = await suspects.begin(request, options, options)
    const search = new SourceSearch(this.#options, request, { ...options, caution: handOut.caution })
    try {
      const first = await search.next(options.start, options.signal)
      if (first === undefined) throw search.refusal()
      return new RemoteBlob({ ...options, digest: request.digest, first, search, handOut, suspects })
    } catch (error) {
      handOut.end()
      search.end({ reachedEnd: false })
      throw error
    }
  }

  /** Whether a transfer of the blob has a source, or the swarm looks for one, although its nodes are slow to answer. */
  isComing(digest: Digest): boolean {
    const transfer = this.#options.transfers.of(digest)
    return transfer !== undefined && (transfer.waitsForPeers || transfer.hasBegun)
  }

  /** Size of a blob in bytes. Throws OciError if no source has it. */
  async head(request: BlobRequest, options: { signal: AbortSignal }): Promise<number> {
    const { sources } = this.#options
    const size = (await sources.sizeAtPeers(request, options)) ?? (await this.#sizeUpstream(request, options))
    if (size === undefined) throw new OciError('BLOB_UNKNOWN', { message: `${request.digest}: nobody has it` })
    return size
  }

  async #sizeUpstream(request: BlobRequest, options: { signal: AbortSignal }): Promise<number | undefined> {
    const { sources } = this.#options
    if (!sources.fallsBack(request.repository)) {
      const cause = sources.notFetched(request.repository)
      throw new OciError('BLOB_UNKNOWN', { message: `${request.digest}: no node has it, and ${cause.message}`, cause })
    }
    try {
      return await sources.sizeUpstream(request, options)
    } catch (cause) {
      options.signal.throwIfAborted()
      throw new OciError('BLOB_UNKNOWN', { message: `${request.digest}: ${(cause as Error).message}`, cause })
    }
  }
}
