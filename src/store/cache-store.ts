import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Repository, TagReference } from '../oci/reference.ts'
import type { ContentStore, GrowingBlob } from './content-store.ts'

/** A content store that Nabo fills itself. What it commits has been hashed. */
export interface CacheStore extends ContentStore {
  /**
   * Begins to take in a blob of `size` bytes. undefined if it cannot be kept (larger than the cache, disk full): stream past it.
   * One ingest of a digest at a time: the caller keeps a second one from starting.
   */
  ingest(digest: Digest, options: { size: number }): Promise<Ingest | undefined>
  /** Keeps a verified manifest, where it came from, and its tag if it was asked for by one. Never throws for a full disk. */
  putManifest(bytes: Uint8Array, origin: ManifestOrigin): Promise<void>
  /**
   * Records the repository that a held blob was fetched from; no effect if the blob is not held. A pair of digest and repository
   * that was recorded as public stays public.
   */
  noteOrigin(digest: Digest, origin: BlobOrigin): void
  /** Drops a blob that proved damaged. Nothing happens if it is not held. */
  discard(digest: Digest): Promise<void>
}

/** Repository that content was fetched from. A record, not an access right: `delivery/access` decides about rights. */
export interface BlobOrigin {
  readonly repository: Repository
  /** True if the content was fetched without credentials. */
  readonly isPublic: boolean
}

export interface ManifestOrigin extends BlobOrigin {
  readonly descriptor: Descriptor
  /** True if the media type is a hint, and not the word of the repository's registry. */
  readonly isHint?: boolean
  readonly tag?: { readonly reference: TagReference; readonly asOf: number }
}

/** A blob that is being written, from byte 0 on, and can be read meanwhile. */
export interface Ingest {
  readonly size: number
  /** Bytes written so far. */
  readonly written: number
  /** Appends. Throws IngestError when the disk is full or more bytes come than were announced; the ingest is over then. */
  write(chunk: Uint8Array): Promise<void>
  /** Hashes, syncs and renames into place. Throws IngestError if size or digest are wrong: nothing is kept then. */
  commit(): Promise<void>
  /** Gives up; readers get an error where the bytes end. Safe to call at any time. */
  abort(reason: Error): Promise<void>
  /** A reader that waits for bytes that are not there yet. Works on after the commit; close it. */
  open(): Promise<GrowingBlob>
}

/** A blob could not be taken in. `reason` says whose fault it was. */
export class IngestError extends Error {
  override readonly name = 'IngestError'
  readonly reason: 'disk-full' | 'digest-mismatch' | 'size-mismatch' | 'aborted' | 'io'

  constructor(reason: IngestError['reason'], message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.reason = reason
  }
}
