import { randomUUID } from 'node:crypto'
import { open, rm } from 'node:fs/promises'

import { type Digest, matchesDigest } from '../../oci/digest.ts'
import { MAX_MANIFEST_BYTES, type ToldMediaType } from '../../oci/manifest.ts'
import type { Repository, TagReference } from '../../oci/reference.ts'
import type { Log } from '../../telemetry/log.ts'
import { type BlobOrigin, type CacheStore, type Ingest, IngestError, type ManifestOrigin } from '../cache-store.ts'
import type {
  ContentSource,
  GrowingBlob,
  GrowingOptions,
  KnownTag,
  OpenBlob,
  StoreChange,
  StoreEntry,
  StoreStatus,
} from '../content-store.ts'
import { errorCode, FileBlob, openFile } from '../file-blob.ts'
import { grownBlob } from '../grown-blob.ts'
import { Listeners } from '../listeners.ts'
import { BlobOrigins, parseOrigins, sourcesOf } from './blob-origins.ts'
import { FileIngest, ioError } from './file-ingest.ts'
import { ImageIndex, parseIndex } from './image-index.ts'
import { Layout } from './layout.ts'
import { loadContents } from './load-contents.ts'
import { LockedError, takeLock } from './lock.ts'
import { Room } from './room.ts'
import { Space } from './space.ts'
import { StateFile } from '../state-file.ts'

export interface DirectoryStoreOptions {
  readonly directory: string
  /** Of all blobs together, those on their way included. */
  readonly maxBytes: number
  readonly log: Pick<Log, 'debug' | 'info' | 'warn'>
}

/** An OCI image layout that Nabo fills itself: bounded in bytes, least recently used out first. */
export class DirectoryStore implements CacheStore {
  readonly #log: DirectoryStoreOptions['log']
  readonly #layout: Layout
  readonly #indexFile: StateFile<readonly ManifestOrigin[]>
  readonly #originsFile: StateFile<ReadonlyMap<Digest, readonly BlobOrigin[]>>
  readonly #listeners: Listeners
  readonly #space: Space
  readonly #room: Room
  readonly #index = new ImageIndex()
  readonly #origins = new BlobOrigins()
  readonly #ingests = new Set<FileIngest>()
  readonly #removals = new Map<Digest, Promise<void>>()
  /** Arrival times of the blobs that this process stored, by `performance.now()`. */
  readonly #arrivals = new Map<Digest, number>()
  readonly #manifests = new Map<Digest, Promise<boolean>>()
  #status: StoreStatus = { ready: false, reason: 'the cache directory has not been read yet' }
  #unlock: (() => Promise<void>) | undefined
  constructor({ directory, maxBytes, log }: DirectoryStoreOptions) {
    this.#log = log
    this.#layout = new Layout(directory)
    this.#indexFile = new StateFile({
      path: this.#layout.index,
      temporaryPath: this.#layout.temporary('index.json'),
      parse: parseIndex,
      what: 'index of the cache',
      loss: 'its blobs stay, its tags are lost',
      log,
    })
    this.#originsFile = new StateFile({
      path: this.#layout.origins,
      temporaryPath: this.#layout.temporary('origins.json'),
      parse: parseOrigins,
      what: 'list of origins of the cache',
      loss: 'its blobs stay, their registries are asked again who may see them',
      log,
    })
    this.#listeners = new Listeners(log)
    this.#space = new Space(maxBytes)
    this.#room = new Room({
      directory,
      space: this.#space,
      owed: () => this.#ingests.values().reduce((sum, ingest) => sum + ingest.size - ingest.written, 0),
      evict: (digest) => this.#evict(digest),
      log,
    })
  }

  /** Reads the directory. Throws LockedError if another process uses it, and an Error of one sentence if it can't be written. */
  async start(): Promise<void> {
    const { directory } = this.#layout
    try {
      await this.#layout.create()
      this.#unlock = await takeLock(this.#layout.lock)
    } catch (cause) {
      if (cause instanceof LockedError) throw cause
      const advice = 'run Nabo as its owner, or name another one with --cache-dir'
      throw new Error(`the cache directory ${directory} cannot be written (${advice}): ${errorCode(cause)}`, { cause })
    }
    try {
      await this.#layout.prepare()
      const contents = { layout: this.#layout, space: this.#space, index: this.#index, origins: this.#origins }
      await loadContents(contents, { index: this.#indexFile, origins: this.#originsFile }, this.#log)
      // The bound may have been lowered since.
      await Promise.all((this.#space.victims(0, 0) ?? []).map((digest) => this.#evict(digest)))
    } catch (error) {
      await this.#unlock()
      throw error
    }
    this.#status = { ready: true }
    const [bytes, maxBytes] = [this.#space.used, this.#space.maxBytes]
    this.#log.info({ directory, bytes, maxBytes }, 'the cache directory is open')
    for (const entry of this.entries()) this.#emit('added', entry)
  }

  async stop(): Promise<void> {
    this.#status = { ready: false, reason: 'stopped' }
    await Promise.all(this.#ingests.values().map((ingest) => ingest.abort(new Error('the cache is closing'))))
    await Promise.allSettled(this.#removals.values())
    await Promise.all([this.#indexFile.flush(), this.#originsFile.flush()])
    await this.#unlock?.()
    this.#unlock = undefined
  }

  status(): StoreStatus {
    return this.#status
  }

  /** Of all blobs that are held, in bytes. */
  get usedBytes(): number {
    return this.#space.used
  }

  entries(): readonly StoreEntry[] {
    const dated: { at: number; entry: StoreEntry }[] = []
    for (const [digest, { usedAt }] of this.#space.entries())
      dated.push({ at: usedAt, entry: { type: 'blob', digest } })
    dated.reverse()
    for (const { repository, tag, asOf } of this.#index.entries()) {
      if (tag === undefined) continue
      const { registry, name } = repository
      dated.push({ at: asOf, entry: { type: 'tag', tag: { registry, name, tag } } })
    }
    return dated.sort((a, b) => b.at - a.at).map(({ entry }) => entry)
  }

  subscribe(listener: (change: StoreChange) => void): () => void {
    return this.#listeners.add(listener)
  }

  async open(digest: Digest, { signal }: { signal: AbortSignal }): Promise<OpenBlob | undefined> {
    signal.throwIfAborted()
    const known = this.#space.get(digest)
    if (known === undefined) return undefined
    const unpin = this.#space.pin(digest)
    try {
      const file = await openFile(this.#layout.blob(digest))
      if (file?.size !== known.size) {
        await file?.handle.close()
        this.#forgetLost(digest)
        unpin()
        return undefined
      }
      const now = Date.now()
      this.#space.touch(digest, now)
      // The file's own time carries the order over a restart; it is worth no waiting.
      file.handle.utimes(now / 1000, now / 1000).catch(() => {})
      return new FileBlob(file.handle, file.size, unpin)
    } catch (error) {
      unpin()
      throw error
    }
  }

  async openGrowing(digest: Digest, { size, signal }: GrowingOptions): Promise<GrowingBlob | undefined> {
    signal.throwIfAborted()
    const ingest = this.#ingests.values().find((candidate) => candidate.digest === digest)
    if (ingest !== undefined) return size === undefined || size === ingest.size ? ingest.openHeldBack() : undefined
    const blob = await this.open(digest, { signal })
    return blob && grownBlob(blob)
  }

  async sources(digest: Digest, { signal }: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    signal.throwIfAborted()
    if (!this.#space.has(digest)) return []
    return sourcesOf([...this.#index.of(digest), ...this.#origins.of(digest)], this.#arrivals.get(digest))
  }

  async mediaType(
    digest: Digest,
    repository: Repository,
    { signal }: { signal: AbortSignal },
  ): Promise<ToldMediaType | undefined> {
    signal.throwIfAborted()
    return this.#index.mediaType(digest, repository)
  }

  async manifestsOf(repository: Repository, { signal }: { signal: AbortSignal }): Promise<readonly Digest[]> {
    signal.throwIfAborted()
    return this.#space.latestFirst(this.#index.ofRepository(repository))
  }

  async resolve(tag: TagReference, { signal }: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    signal.throwIfAborted()
    const entry = this.#index.resolve(tag)
    return entry === undefined ? undefined : { descriptor: entry.descriptor, asOf: entry.asOf }
  }

  async ingest(digest: Digest, { size }: { size: number }): Promise<Ingest | undefined> {
    if (!this.#status.ready || !(await this.#room.reserve(size))) return undefined
    const temporaryPath = this.#layout.temporary(randomUUID())
    try {
      const handle = await open(temporaryPath, 'wx+')
      return this.#begin({ digest, size, handle, temporaryPath })
    } catch (cause) {
      this.#space.release(size)
      this.#noteFailure(ioError(cause))
      return undefined
    }
  }

  async putManifest(bytes: Uint8Array, origin: ManifestOrigin): Promise<void> {
    const { digest, size } = origin.descriptor
    if (bytes.length !== size || bytes.length > MAX_MANIFEST_BYTES || !matchesDigest(bytes, digest)) {
      throw new IngestError('digest-mismatch', `the bytes are not those of ${digest}`)
    }
    const kept = this.#space.has(digest) || (await this.#keepManifest(bytes, digest))
    if (!kept || !this.#space.has(digest)) return
    const newTag = this.#index.put(origin)
    this.#saveIndex()
    if (newTag !== undefined) {
      const { registry, name, tag } = newTag
      this.#emit('added', { type: 'tag', tag: { registry, name, tag } })
    }
  }

  noteOrigin(digest: Digest, origin: BlobOrigin): void {
    // After stop() another process may own the file.
    if (!this.#status.ready || !this.#space.has(digest)) return
    if (this.#origins.note(digest, origin)) this.#saveOrigins()
  }

  async discard(digest: Digest): Promise<void> {
    if (this.#space.has(digest)) await this.#evict(digest)
  }

  /** Writes a manifest once, however many ask for it. */
  #keepManifest(bytes: Uint8Array, digest: Digest): Promise<boolean> {
    const running = this.#manifests.get(digest)
    if (running !== undefined) return running
    const work = this.#writeManifest(bytes, digest).finally(() => this.#manifests.delete(digest))
    this.#manifests.set(digest, work)
    return work
  }

  async #writeManifest(bytes: Uint8Array, digest: Digest): Promise<boolean> {
    const ingest = await this.ingest(digest, { size: bytes.length })
    if (ingest === undefined) return false
    try {
      await ingest.write(bytes)
      await ingest.commit()
      return true
    } catch (error) {
      // Noted where it happened; the manifest is passed on all the same.
      if (error instanceof IngestError) return false
      throw error
    }
  }

  #begin(
    file: Pick<ConstructorParameters<typeof FileIngest>[0], 'digest' | 'size' | 'handle' | 'temporaryPath'>,
  ): Ingest {
    const { digest, size } = file
    const ingest: FileIngest = new FileIngest({
      ...file,
      blobPath: this.#layout.blob(digest),
      pin: () => this.#space.pin(digest),
      beforePlace: async () => this.#removals.get(digest),
      onCommitted: () => {
        this.#ingests.delete(ingest)
        this.#space.release(size)
        const isNew = !this.#space.has(digest)
        this.#space.add(digest, { size, usedAt: Date.now() })
        if (isNew) this.#arrivals.set(digest, performance.now())
        if (isNew) this.#emit('added', { type: 'blob', digest })
      },
      onFailed: (error) => {
        this.#ingests.delete(ingest)
        this.#noteFailure(error)
      },
      onDropped: () => this.#space.release(size),
    })
    this.#ingests.add(ingest)
    return ingest
  }

  #evict(digest: Digest): Promise<void> {
    this.#log.debug({ digest }, 'evicting a blob from the cache')
    this.#forget(digest)
    const removal = rm(this.#layout.blob(digest), { force: true })
      .catch((err: unknown) => this.#log.warn({ err, digest }, 'an evicted blob could not be removed'))
      .finally(() => this.#removals.delete(digest))
    this.#removals.set(digest, removal)
    return removal
  }

  #forgetLost(digest: Digest): void {
    if (!this.#space.has(digest)) return
    this.#log.warn({ digest }, 'a blob of the cache was removed or changed by somebody else')
    this.#forget(digest)
  }

  #forget(digest: Digest): void {
    this.#space.delete(digest)
    this.#arrivals.delete(digest)
    const wasNamed = this.#index.of(digest).length > 0
    const tags = this.#index.delete(digest)
    if (wasNamed) this.#saveIndex()
    if (this.#origins.delete(digest)) this.#saveOrigins()
    for (const tag of tags) this.#emit('removed', { type: 'tag', tag })
    this.#emit('removed', { type: 'blob', digest })
  }

  #noteFailure(error: IngestError): void {
    if (error.reason === 'aborted') return
    if (error.reason === 'disk-full') return this.#room.diskWasFull()
    this.#log.warn({ err: error, reason: error.reason }, 'a blob was not kept in the cache')
  }

  #saveIndex(): void {
    this.#indexFile.save(() => this.#index.toJson())
  }

  #saveOrigins(): void {
    this.#originsFile.save(() => this.#origins.toJson())
  }

  #emit(type: StoreChange['type'], entry: StoreEntry): void {
    this.#listeners.emit({ type, entry })
  }
}
