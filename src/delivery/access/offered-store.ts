import type { Digest } from '../../oci/digest.ts'
import type { ToldMediaType } from '../../oci/manifest.ts'
import type { Repository, TagReference } from '../../oci/reference.ts'
import {
  type ContentSource,
  type ContentStore,
  type GrowingBlob,
  type GrowingOptions,
  type KnownTag,
  type OpenBlob,
  type StoreChange,
  type StoreEntry,
  type StoreStatus,
  UNRECORDED,
} from '../../store/content-store.ts'
import { Listeners } from '../../store/listeners.ts'
import type { Log } from '../../telemetry/log.ts'
import { second } from '../../time/units.ts'
import type { NamedImage } from './image-filter.ts'

export interface OfferedStoreOptions {
  /** Whether the operator lets this node mirror an image, or content of a repository. */
  readonly includes: (image: NamedImage) => boolean
  /** The sources that this process saw for a blob; containerd's labels arrive later. */
  readonly sourcesOf?: ((digest: Digest) => readonly Repository[]) | undefined
  readonly log: Pick<Log, 'debug' | 'warn'>
}

interface Blob {
  isOffered: boolean
  retries: number
}

/** containerd writes labels after the commit; imported content is recognised seconds later. */
const RETRY_DELAYS = [0.25, 0.5, 1, 2, 4, 8].map((seconds) => seconds * second)
/** Concurrent questions to the store: each may cost one call to containerd per namespace. */
const CONCURRENCY = 8

/**
 * A content store that lists only content with a source that `--registries`, `--include` and `--exclude` let through. Other content is not
 * announced and its tags do not resolve. Every blob can still be opened, for the mirror and the node's own checks.
 */
export class OfferedStore implements ContentStore {
  readonly #store: ContentStore
  readonly #options: OfferedStoreOptions
  readonly #listeners: Listeners
  readonly #unsubscribe: () => void
  readonly #stopping = new AbortController()
  /** Every blob in the store. */
  readonly #blobs = new Map<Digest, Blob>()
  readonly #queue = new Set<Digest>()
  /** Next question about each blob without a source, by the monotonic clock. */
  readonly #due = new Map<Digest, number>()
  #asking = 0
  #willAskAll = false
  #timer: { readonly due: number; readonly timeout: NodeJS.Timeout } | undefined

  constructor(store: ContentStore, options: OfferedStoreOptions) {
    this.#store = store
    this.#options = options
    this.#listeners = new Listeners(options.log)
    this.#unsubscribe = store.subscribe((change) => this.#changed(change))
  }

  async start(): Promise<void> {
    await this.#store.start()
    for (const entry of this.#store.entries()) if (entry.type === 'blob') this.#added(entry.digest)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#unsubscribe()
    clearTimeout(this.#timer?.timeout)
    this.#timer = undefined
    this.#due.clear()
    this.#queue.clear()
    await this.#store.stop()
  }

  status(): StoreStatus {
    return this.#store.status()
  }

  entries(): readonly StoreEntry[] {
    return this.#store
      .entries()
      .filter((entry) =>
        entry.type === 'blob' ? this.#blobs.get(entry.digest)?.isOffered === true : this.#options.includes(entry.tag),
      )
  }

  subscribe(listener: (change: StoreChange) => void): () => void {
    return this.#listeners.add(listener)
  }

  open(digest: Digest, options: { signal: AbortSignal }): Promise<OpenBlob | undefined> {
    return this.#store.open(digest, options)
  }

  openGrowing(digest: Digest, options: GrowingOptions): Promise<GrowingBlob | undefined> {
    return this.#store.openGrowing(digest, options)
  }

  sources(digest: Digest, options: { signal: AbortSignal }): Promise<readonly ContentSource[]> {
    return this.#store.sources(digest, options)
  }

  mediaType(
    digest: Digest,
    repository: Repository,
    options: { signal: AbortSignal },
  ): Promise<ToldMediaType | undefined> {
    return this.#store.mediaType(digest, repository, options)
  }

  manifestsOf(repository: Repository, options: { signal: AbortSignal }): Promise<readonly Digest[]> {
    return this.#store.manifestsOf(repository, options)
  }

  async resolve(tag: TagReference, options: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    options.signal.throwIfAborted()
    return this.#options.includes(tag) ? this.#store.resolve(tag, options) : undefined
  }

  #changed({ type, entry }: StoreChange): void {
    if (entry.type === 'tag') {
      if (this.#options.includes(entry.tag)) this.#listeners.emit({ type, entry })
      if (type === 'added') this.#askAllSoon()
    } else if (type === 'added') this.#added(entry.digest)
    else this.#removed(entry.digest)
  }

  #added(digest: Digest): void {
    if (this.#blobs.has(digest)) return
    this.#blobs.set(digest, { isOffered: false, retries: 0 })
    this.#queue.add(digest)
    this.#askNext()
  }

  #removed(digest: Digest): void {
    const wasOffered = this.#blobs.get(digest)?.isOffered === true
    this.#blobs.delete(digest)
    this.#queue.delete(digest)
    this.#due.delete(digest)
    if (wasOffered) this.#listeners.emit({ type: 'removed', entry: { type: 'blob', digest } })
  }

  /**
   * A new tag marks the end of a pull. Blobs that were already present may have a new source, and stores send no event for that. One
   * round of questions serves all tags of a batch.
   */
  #askAllSoon(): void {
    if (this.#willAskAll) return
    this.#willAskAll = true
    queueMicrotask(() => {
      this.#willAskAll = false
      for (const [digest, { isOffered }] of this.#blobs) if (!isOffered) this.#queue.add(digest)
      this.#askNext()
    })
  }

  #askNext(): void {
    while (this.#asking < CONCURRENCY && !this.#stopping.signal.aborted) {
      const digest = this.#queue.values().next().value
      if (digest === undefined) return
      this.#queue.delete(digest)
      this.#asking += 1
      void this.#ask(digest).finally(() => {
        this.#asking -= 1
        this.#askNext()
      })
    }
  }

  /** Never rejects. */
  async #ask(digest: Digest): Promise<void> {
    const blob = this.#blobs.get(digest)
    if (blob === undefined || blob.isOffered) return
    const standing = await this.#standingOf(digest)
    // Meanwhile the blob may have been removed and added again, or another question may have finished.
    if (this.#stopping.signal.aborted || this.#blobs.get(digest) !== blob || blob.isOffered) return
    if (standing === 'unknown') return this.#retryLater(digest, blob)
    this.#due.delete(digest)
    if (standing === 'left-out') return
    blob.isOffered = true
    this.#listeners.emit({ type: 'added', entry: { type: 'blob', digest } })
  }

  async #standingOf(digest: Digest): Promise<'included' | 'left-out' | 'unknown'> {
    const { includes, sourcesOf, log } = this.#options
    const isIncluded = ({ registry, name }: Repository) => includes({ registry, name })
    try {
      const seen = sourcesOf?.(digest) ?? []
      if (seen.some(isIncluded)) return 'included'
      const held = await this.#store.sources(digest, { signal: this.#stopping.signal })
      // The store may still learn the source of an unrecorded blob.
      const sources = held.filter(({ registry }) => registry !== UNRECORDED.registry)
      if (sources.some(isIncluded)) return 'included'
      return seen.length + sources.length === 0 ? 'unknown' : 'left-out'
    } catch (err) {
      if (!this.#stopping.signal.aborted) log.debug({ err, digest }, 'the store does not say where a blob came from')
      return 'unknown'
    }
  }

  #retryLater(digest: Digest, blob: Blob): void {
    const delay = RETRY_DELAYS[blob.retries]
    if (delay === undefined || this.#due.has(digest)) return
    blob.retries += 1
    const due = performance.now() + delay
    this.#due.set(digest, due)
    this.#setTimer(due)
  }

  /** One timer for all blobs, set to the earliest due time. */
  #setTimer(due: number): void {
    if (this.#timer !== undefined && this.#timer.due <= due) return
    clearTimeout(this.#timer?.timeout)
    const timeout = setTimeout(() => this.#retryDue(), Math.ceil(due - performance.now())).unref()
    this.#timer = { due, timeout }
  }

  #retryDue(): void {
    this.#timer = undefined
    const now = performance.now()
    let next = Infinity
    for (const [digest, due] of this.#due) {
      if (due > now) next = Math.min(next, due)
      else {
        this.#due.delete(digest)
        this.#queue.add(digest)
      }
    }
    if (next !== Infinity) this.#setTimer(next)
    this.#askNext()
  }
}
