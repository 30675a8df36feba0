import type { Digest } from '../../oci/digest.ts'
import type { ToldMediaType } from '../../oci/manifest.ts'
import type { Repository, TagReference } from '../../oci/reference.ts'
import type {
  ContentSource,
  ContentStore,
  GrowingBlob,
  KnownTag,
  OpenBlob,
  StoreChange,
  StoreEntry,
  StoreStatus,
} from '../../store/content-store.ts'
import { Listeners } from '../../store/listeners.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Quarantine } from './quarantine.ts'

/** A content store without what is in quarantine: nobody is given it, and nobody is told that it is here. */
export class SoundStore implements ContentStore {
  readonly #store: ContentStore
  readonly #quarantine: Quarantine
  readonly #listeners: Listeners

  constructor(store: ContentStore, quarantine: Quarantine, log: Pick<Log, 'warn'>) {
    this.#store = store
    this.#quarantine = quarantine
    this.#listeners = new Listeners(log)
    store.subscribe((change) => this.#changed(change))
    quarantine.onAdded((digest) => this.#listeners.emit({ type: 'removed', entry: { type: 'blob', digest } }))
  }

  start(): Promise<void> {
    return this.#store.start()
  }

  stop(): Promise<void> {
    return this.#store.stop()
  }

  status(): StoreStatus {
    return this.#store.status()
  }

  entries(): readonly StoreEntry[] {
    const entries = this.#store.entries()
    if (this.#quarantine.size === 0) return entries
    return entries.filter((entry) => entry.type !== 'blob' || !this.#quarantine.has(entry.digest))
  }

  subscribe(listener: (change: StoreChange) => void): () => void {
    return this.#listeners.add(listener)
  }

  async open(digest: Digest, options: { signal: AbortSignal }): Promise<OpenBlob | undefined> {
    return this.#quarantine.has(digest) ? undefined : this.#store.open(digest, options)
  }

  async openGrowing(
    digest: Digest,
    options: { size?: number | undefined; signal: AbortSignal },
  ): Promise<GrowingBlob | undefined> {
    // What has just become complete is offered too, so even this could be the damaged one.
    return this.#quarantine.has(digest) ? undefined : this.#store.openGrowing(digest, options)
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

  resolve(tag: TagReference, options: { signal: AbortSignal }): Promise<KnownTag | undefined> {
    return this.#store.resolve(tag, options)
  }

  #changed(change: StoreChange): void {
    if (change.entry.type === 'blob' && this.#quarantine.has(change.entry.digest)) {
      // Listeners believe that it went when it came into quarantine.
      if (change.type === 'removed') this.#quarantine.end(change.entry.digest)
      return
    }
    this.#listeners.emit(change)
  }
}
