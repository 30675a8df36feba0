import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'

import { type Digest, parseDigest } from '../../oci/digest.ts'

/**
 * Tells when a blob appears in or vanishes from a content store on disk. containerd has no event for a garbage collection,
 * and before 2.0 none for a commit. It is a help only: without it changes are seen later.
 */
export class BlobWatch {
  readonly #directories: readonly string[]
  readonly #onChange: (digest: Digest | undefined) => void
  readonly #watchers = new Map<string, FSWatcher>()

  /** `root` is the root of the content store. `onChange` is told which blob it is about, where that is known. */
  constructor(root: string, onChange: (digest: Digest | undefined) => void) {
    // A fresh containerd makes the lower ones with its first blob.
    this.#directories = [root, join(root, 'blobs'), join(root, 'blobs', 'sha256')]
    this.#onChange = onChange
  }

  /** Begins to watch what is there and is not watched yet. */
  ensure(): void {
    for (const directory of this.#directories) {
      if (this.#watchers.has(directory)) continue
      try {
        const watcher = watch(directory, { persistent: false }, (_event, name) => this.#changed(name))
        watcher.on('error', () => this.#drop(directory))
        this.#watchers.set(directory, watcher)
      } catch {
        return
      }
    }
  }

  close(): void {
    for (const directory of this.#directories) this.#drop(directory)
  }

  #changed(name: string | null): void {
    if (this.#watchers.size < this.#directories.length) this.ensure()
    this.#onChange(parseDigest(`sha256:${name ?? ''}`))
  }

  #drop(directory: string): void {
    this.#watchers.get(directory)?.close()
    this.#watchers.delete(directory)
  }
}
