import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ToldMediaType } from '../oci/manifest.ts'
import type { Repository, TagReference } from '../oci/reference.ts'

/** The content that this node holds. Every adapter passes the conformance suite in `test/store`. */
export interface ContentStore {
  /** Begins to follow the content. Returns without waiting for a backend that is not there yet. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Whether the content can be read now, and if not why, in words for the node's operator. */
  status(): StoreStatus
  /** What is held as far as known, most recent first. */
  entries(): readonly StoreEntry[]
  /** Tells of every later change, and of the differences after a reconnection. Returns its own end. */
  subscribe(listener: (change: StoreChange) => void): () => void
  /** Opens a complete blob; undefined if it is not held. The caller closes it. */
  open(digest: Digest, options: { signal: AbortSignal }): Promise<OpenBlob | undefined>
  /**
   * Opens what is arriving here right now; undefined if nothing is, or if its size is not known. What has just become complete is
   * opened too, since it was arriving a moment ago. The caller closes it.
   */
  openGrowing(digest: Digest, options: GrowingOptions): Promise<GrowingBlob | undefined>
  /**
   * All recorded sources of this digest: content is public only if each source is. A manifest that lists the digest is no source.
   * Empty if nothing is known yet or the digest is not held; sources may be added later.
   */
  sources(digest: Digest, options: { signal: AbortSignal }): Promise<readonly ContentSource[]>
  /**
   * The media type that is recorded for a manifest, that of its repository first; undefined if none is, or the digest is not held. The bytes do
   * not always tell it.
   */
  mediaType(
    digest: Digest,
    repository: Repository,
    options: { signal: AbortSignal },
  ): Promise<ToldMediaType | undefined>
  /**
   * The manifests and indexes that are held and recorded for a repository, most recent first. Like a source a record and a hint, never an access
   * right.
   */
  manifestsOf(repository: Repository, options: { signal: AbortSignal }): Promise<readonly Digest[]>
  /** What a tag names here; undefined if it is not known or its target is not held. */
  resolve(tag: TagReference, options: { signal: AbortSignal }): Promise<KnownTag | undefined>
}

export type StoreStatus = { readonly ready: true } | { readonly ready: false; readonly reason: string }

export type StoreEntry =
  | { readonly type: 'blob'; readonly digest: Digest }
  | { readonly type: 'tag'; readonly tag: TagReference }

export type StoreChange = { readonly type: 'added' | 'removed'; readonly entry: StoreEntry }

/** A complete blob, open for reading. It stays readable when the store drops it meanwhile. */
export interface OpenBlob {
  /** In bytes. */
  readonly size: number
  /** A descriptor of the file for `sendfile`; undefined where there is no file. */
  readonly fd: number | undefined
  /** Fills `target` from `position`; returns how many bytes were read, 0 at the end. */
  read(target: Uint8Array, position: number): Promise<number>
  close(): Promise<void>
}

export interface GrowingOptions {
  /** Of the whole blob in bytes, if the caller knows it: what disagrees with it is not opened. */
  readonly size?: number | undefined
  readonly signal: AbortSignal
}

/** A blob that is being written, open for reading. It stays readable when it becomes complete. */
export interface GrowingBlob {
  /** Of the whole blob, in bytes. */
  readonly size: number
  /** How many bytes can be read now, from byte 0 on. */
  readonly written: number
  /** Like OpenBlob.read, but waits until at least one byte at `position` is there. Throws IngestError when it will not come. */
  read(target: Uint8Array, position: number, options: { signal: AbortSignal }): Promise<number>
  close(): Promise<void>
}

/**
 * A repository that a digest was fetched from: a record and a hint, never an access right. `access`:
 * - `public`: the digest was fetched without credentials.
 * - `imported`: the digest came from no registry; the node's owner imported an image of that name. Then all sources are `imported`.
 * - `unknown`: the digest came from there, with unrecorded credentials. If a record fits two registries, both are sources.
 */
export interface ContentSource extends Repository {
  readonly access: 'public' | 'imported' | 'unknown'
  /** Arrival time by `performance.now()`; undefined if unknown, which means before this process began. */
  readonly at?: number
}

/**
 * Placeholder for sources that exist but could not be recorded. A `localhost` name is a different machine on each node (RFC 6761), so
 * content under this name is never public.
 */
export const UNRECORDED: Repository = { registry: 'unrecorded.localhost', name: 'unrecorded' }

export interface KnownTag {
  readonly descriptor: Descriptor
  /** When the upstream last said so (its `Date`), else when the store learned it. Milliseconds since the epoch. */
  readonly asOf: number
}
