import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { Descriptor } from '../../src/oci/manifest.ts'
import { type Repository, repositoryKey, tagKey, type TagReference } from '../../src/oci/reference.ts'
import type {
  ContentSource,
  ContentStore,
  KnownTag,
  OpenBlob,
  StoreChange,
  StoreEntry,
  StoreStatus,
} from '../../src/store/content-store.ts'

/** A content store in memory, filled by the test. */
export class MemoryStore implements ContentStore {
  readonly #blobs = new Map<Digest, { bytes: Uint8Array; sources: Map<string, ContentSource> }>()
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

  async sources(digest: Digest, { signal }: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    signal.throwIfAborted()
    return [...(this.#blobs.get(digest)?.sources.values() ?? [])]
  }

  async resolve(tag: TagReference, { signal }: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    signal.throwIfAborted()
    return this.#tags.get(tagKey(tag))?.known
  }

  #emit(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}
