import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Digest } from '../../oci/digest.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ContentStore } from '../../store/content-store.ts'
import { readManifest } from '../../store/read-manifest.ts'
import { errorText, type Log } from '../../telemetry/log.ts'
import { abortable, withDeadline } from '../../time/deadline.ts'
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
/** A manifest of 256 layers has less than 100 KiB; a larger one is skipped, since several of them would use up the time. */
const MAX_BYTES = 1024 * 1024
/** Bytes read for one blob. */
const MAX_ROUND_BYTES = 8 * 1024 * 1024
/** Then a manifest is read again, since its sizes may have been evicted from memory. */
const READ_LIFE = 10 * minute
const READ_TIMEOUT = 1 * second

/** Manifests of one repository are being read, until the sizes of all wanted blobs are known. */
interface Round {
  readonly wanted: Set<Digest>
  readonly done: Promise<void>
}

/**
 * The sizes in the manifests of the content store. A client that has a manifest asks only for its layers, and this process may never have seen the
 * manifest: it came before a restart, or past Nabo.
 */
export class StoredSizes {
  readonly #options: StoredSizesOptions
  /** By repository: the manifests whose reading has been tried. */
  readonly #read = new LRUCache<string, Set<Digest>>({ ...atMost(MAX_REPOSITORIES), ttl: READ_LIFE })
  readonly #pending = new Map<string, Round>()

  constructor(options: StoredSizesOptions) {
    this.#options = options
  }

  /** Lets {@link KnownSizes} know the size of a blob, if a manifest of its repository that is held states it. Rejects for the signal alone. */
  async learn(repository: Repository, digest: Digest, { signal }: { signal: AbortSignal }): Promise<void> {
    if (this.#options.sizes.of(repository, digest) !== undefined) return
    const key = repositoryKey(repository)
    let round = this.#pending.get(key)
    if (round === undefined) {
      const wanted = new Set<Digest>()
      // Several blobs wait for it, so it does not take the first one's signal.
      const done = this.#readWithin(repository, wanted).finally(() => this.#pending.delete(key))
      round = { wanted, done }
      this.#pending.set(key, round)
    }
    round.wanted.add(digest)
    await abortable(round.done, signal)
  }

  async #readWithin(repository: Repository, wanted: ReadonlySet<Digest>): Promise<void> {
    const never = new AbortController().signal
    try {
      await withDeadline(READ_TIMEOUT, 'reading the manifests of a repository', never, (signal) =>
        this.#readNew(repository, wanted, signal),
      )
    } catch (error) {
      this.#say(repository, error)
    }
  }

  async #readNew(repository: Repository, wanted: ReadonlySet<Digest>, signal: AbortSignal): Promise<void> {
    const { store, sizes } = this.#options
    const manifests = await store.manifestsOf(repository, { signal })
    const tried = this.#triedOf(repository)
    const untried = manifests.filter((digest) => !tried.has(digest)).slice(0, MAX_READ)
    let room = MAX_ROUND_BYTES
    for (const digest of untried) {
      signal.throwIfAborted()
      if (room < MAX_BYTES) return
      // Before the read: a manifest that hangs must not use up the time of the next blob too.
      tried.add(digest)
      try {
        const bytes = await readManifest(store, digest, { signal, limit: MAX_BYTES })
        room -= bytes?.length ?? 0
        sizes.note(repository, (bytes && parseManifest(bytes)?.children) ?? [])
      } catch (error) {
        this.#say(repository, error)
      }
      if ([...wanted].every((blob) => sizes.of(repository, blob) !== undefined)) return
    }
  }

  #triedOf(repository: Repository): Set<Digest> {
    const key = repositoryKey(repository)
    const known = this.#read.get(key)
    if (known !== undefined) return known
    const tried = new Set<Digest>()
    // Set once: a later `set` would renew the lifetime.
    this.#read.set(key, tried)
    return tried
  }

  #say(repository: Repository, error: unknown): void {
    const fields = { repository: repositoryKey(repository), err: errorText(error) }
    this.#options.log.debug(fields, 'manifests of a repository cannot be read')
  }
}
