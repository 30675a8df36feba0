import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { readManifest } from '../../store/read-manifest.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { abortable } from '../../time/deadline.ts'
import { minute, second } from '../../time/units.ts'
import type { KnownSizes } from './known-sizes.ts'

export interface StoredSizesOptions {
  readonly store: Pick<ContentStore, 'manifestsOf' | 'open'>
  readonly sizes: Pick<KnownSizes, 'note' | 'of'>
  readonly log: Pick<Log, 'debug'>
}

const MAX_REPOSITORIES = 1000
/** Manifests read for one blob, some KiB each; a later blob of the repository has the next ones read. */
const MAX_READ = 256
/** Then a manifest is read again, since its sizes may have been evicted from memory. */
const READ_LIFE = 10 * minute
const READ_TIMEOUT = 1 * second

/**
 * The sizes in the manifests of the content store. A client that has a manifest asks only for its layers, and this process may never have seen the
 * manifest: it came before a restart, or past Nabo.
 */
export class StoredSizes {
  readonly #options: StoredSizesOptions
  /** By repository: the manifests that have been read. */
  readonly #read = new LRUCache<string, Set<Digest>>({ ...atMost(MAX_REPOSITORIES), ttl: READ_LIFE })
  readonly #pending = new Map<string, Promise<void>>()

  constructor(options: StoredSizesOptions) {
    this.#options = options
  }

  /** Lets {@link KnownSizes} know the size of a blob, if a manifest of its repository that is held states it. Rejects for the signal alone. */
  async learn(repository: Repository, digest: Digest, { signal }: { signal: AbortSignal }): Promise<void> {
    if (this.#options.sizes.of(repository, digest) !== undefined) return
    const key = repositoryKey(repository)
    let pending = this.#pending.get(key)
    if (pending === undefined) {
      // Several blobs wait for it, so it does not take the first one's signal.
      pending = this.#readNew(repository).finally(() => this.#pending.delete(key))
      this.#pending.set(key, pending)
    }
    await abortable(pending, signal)
  }

  async #readNew(repository: Repository): Promise<void> {
    const { store, sizes, log } = this.#options
    const key = repositoryKey(repository)
    const read = this.#read.get(key) ?? new Set()
    const signal = AbortSignal.timeout(READ_TIMEOUT)
    try {
      const manifests = await store.manifestsOf(repository, { signal })
      const unread = manifests.filter((digest) => !read.has(digest)).slice(0, MAX_READ)
      if (unread.length === 0) return
      // The most recent one last: a cache takes what is read for used, and memory keeps what was noted last.
      for (const digest of unread.reverse()) {
        const bytes = await readManifest(store, digest, { signal })
        sizes.note(repository, (bytes && parseManifest(bytes)?.children) ?? [])
        read.add(digest)
      }
      this.#read.set(key, read)
    } catch (error) {
      log.debug({ repository: key, err: errorText(error) }, 'the manifests of a repository cannot be read')
    }
  }
}
