import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Descriptor, parseManifest, type ToldMediaType } from '../../src/oci/manifest.ts'
import { type Repository, repositoryKey, tagKey, type TagReference } from '../../src/oci/reference.ts'
import { IngestError } from '../../src/store/cache-store.ts'
import type {
  ContentSource,
  ContentStore,
  GrowingBlob,
  GrowingOptions,
  KnownTag,
  OpenBlob,
  StoreChange,
  StoreEntry,
  StoreStatus,
} from '../../src/store/content-store.ts'
import { grownBlob } from '../../src/store/grown-blob.ts'
import { abortable } from '../../src/time/deadline.ts'

/** A content store in memory, filled by the test. */
export class MemoryStore implements ContentStore {
  readonly #blobs = new Map<Digest, { bytes: Uint8Array; sources: Map<string, ContentSource> }>()
  readonly #growing = new Map<Digest, MemoryGrowth>()
  readonly #tags = new Map<string, { tag: TagReference; known: KnownTag }>()
  readonly #listeners = new Set<(change: StoreChange) => void>()
  #status: StoreStatus = { ready: false, reason: 'not started' }

  /** Holds `bytes`, under the repositories named and those named before. */
  put(bytes: Uint8Array, ...sources: readonly (Repository & { access?: ContentSource['access'] })[]): Digest {
    const digest = digestOf(bytes)
    const known = this.#blobs.get(digest)
    const blob = known ?? { bytes, sources: new Map<string, ContentSource>() }
    for (const { registry, name, access = 'public' } of sources) {
      blob.sources.set(repositoryKey({ registry, name }), { registry, name, access })
    }
    this.#blobs.set(digest, blob)
    if (known === undefined) this.#emit({ type: 'added', entry: { type: 'blob', digest } })
    return digest
  }

  tag(tag: TagReference, descriptor: Descriptor, asOf = Date.now()): void {
    const isNew = !this.#tags.has(tagKey(tag))
    this.#tags.set(tagKey(tag), { tag, known: { descriptor, asOf } })
    if (isNew) this.#emit({ type: 'added', entry: { type: 'tag', tag } })
  }

  drop(digest: Digest): void {
    for (const [key, { tag, known }] of this.#tags) {
      if (known.descriptor.digest !== digest) continue
      this.#tags.delete(key)
      this.#emit({ type: 'removed', entry: { type: 'tag', tag } })
    }
    if (this.#blobs.delete(digest)) this.#emit({ type: 'removed', entry: { type: 'blob', digest } })
  }

  async start(): Promise<void> {
    this.#status = { ready: true }
  }

  async stop(): Promise<void> {
    this.setStatus({ ready: false, reason: 'stopped' })
  }

  setStatus(status: StoreStatus): void {
    this.#status = status
  }

  status(): StoreStatus {
    return this.#status
  }

  entries(): readonly StoreEntry[] {
    const tags = [...this.#tags.values()].map(({ tag }): StoreEntry => ({ type: 'tag', tag }))
    const blobs = [...this.#blobs.keys()].map((digest): StoreEntry => ({ type: 'blob', digest }))
    return [...tags.reverse(), ...blobs.reverse()]
  }

  subscribe(listener: (change: StoreChange) => void): () => void {
    const own = (change: StoreChange) => listener(change)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  async open(digest: Digest, { signal }: { signal: AbortSignal }): Promise<OpenBlob | undefined> {
    signal.throwIfAborted()
    const bytes = this.#blobs.get(digest)?.bytes
    if (bytes === undefined) return undefined
    return {
      size: bytes.length,
      fd: undefined,
      read: async (target, position) => {
        const part = bytes.subarray(position, position + target.length)
        target.set(part)
        return part.length
      },
      close: async () => {},
    }
  }

  async openGrowing(digest: Digest, { size, signal }: GrowingOptions): Promise<GrowingBlob | undefined> {
    signal.throwIfAborted()
    const growing = this.#growing.get(digest)
    if (growing !== undefined) return size === undefined || size === growing.size ? growing.open() : undefined
    const blob = await this.open(digest, { signal })
    return blob && grownBlob(blob)
  }

  /** Begins to hold a blob whose bytes come later, of a size that is known. */
  grow(digest: Digest, size: number): MemoryGrowth {
    const growth = new MemoryGrowth(size, () => {
      if (this.#growing.get(digest) === growth) this.#growing.delete(digest)
    })
    this.#growing.set(digest, growth)
    return growth
  }

  async sources(digest: Digest, { signal }: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    signal.throwIfAborted()
    return [...(this.#blobs.get(digest)?.sources.values() ?? [])]
  }

  async mediaType(
    digest: Digest,
    repository: Repository,
    { signal }: { signal: AbortSignal },
  ): Promise<ToldMediaType | undefined> {
    signal.throwIfAborted()
    const named = [...this.#tags.values()].filter(({ known }) => known.descriptor.digest === digest)
    const own = named.find(({ tag }) => repositoryKey(tag) === repositoryKey(repository))
    const found = own ?? named[0]
    return found && { mediaType: found.known.descriptor.mediaType, isRegistrys: own !== undefined }
  }

  async manifestsOf(repository: Repository, { signal }: { signal: AbortSignal }): Promise<readonly Digest[]> {
    signal.throwIfAborted()
    const key = repositoryKey(repository)
    const held = this.#blobs.entries().filter(([, { sources }]) => sources.has(key))
    return [...held.filter(([, { bytes }]) => parseManifest(bytes) !== undefined).map(([digest]) => digest)].reverse()
  }

  async resolve(tag: TagReference, { signal }: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    signal.throwIfAborted()
    return this.#tags.get(tagKey(tag))?.known
  }

  #emit(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

/** A blob of a {@link MemoryStore} that grows as the test says. */
export class MemoryGrowth {
  readonly size: number
  readonly #onOver: () => void
  readonly #bytes: Uint8Array
  #written = 0
  #over = false
  #change = Promise.withResolvers<void>()
  /** Readers that have not been closed. */
  readers = 0

  constructor(size: number, onOver: () => void) {
    this.size = size
    this.#bytes = new Uint8Array(size)
    this.#onOver = onOver
  }

  write(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#written)
    this.#written += bytes.length
    this.#wake()
  }

  /** Nothing more comes. Put the blob if it is complete. */
  end(): void {
    this.#over = true
    this.#onOver()
    this.#wake()
  }

  open(): GrowingBlob {
    this.readers += 1
    let closed = false
    const written = () => this.#written
    return {
      size: this.size,
      get written() {
        return written()
      },
      read: async (target, position, { signal }) => {
        signal.throwIfAborted()
        if (position >= this.size) return 0
        while (this.#written <= position) {
          if (this.#over) throw new IngestError('aborted', 'the test ended it')
          await abortable(this.#change.promise, signal)
        }
        const part = this.#bytes.subarray(position, Math.min(this.#written, position + target.length))
        target.set(part)
        return part.length
      },
      close: async () => {
        if (!closed) this.readers -= 1
        closed = true
      },
    }
  }

  #wake(): void {
    const { resolve } = this.#change
    this.#change = Promise.withResolvers()
    resolve()
  }
}
