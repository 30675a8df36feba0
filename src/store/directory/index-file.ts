import { readFile, rename, rm, writeFile } from 'node:fs/promises'

import type { Log } from '../../telemetry/log.ts'
import type { ManifestOrigin } from '../cache-store.ts'
import { errorCode } from '../file-blob.ts'
import { parseIndex } from './image-index.ts'

export interface IndexFileOptions {
  readonly path: string
  /** On the same file system as `path`. */
  readonly temporaryPath: string
  readonly log: Pick<Log, 'warn'>
}

/** `index.json` on disk. Writes are atomic, one at a time, and what changes during one is written by one more. */
export class IndexFile {
  readonly #options: IndexFileOptions
  #content: (() => string) | undefined
  #writing: Promise<void> | undefined

  constructor(options: IndexFileOptions) {
    this.#options = options
  }

  /** What it says; nothing if it is missing. One that is broken is set aside, not lost. */
  async read(): Promise<readonly ManifestOrigin[]> {
    const { path, log } = this.#options
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return []
      throw error
    }
    const origins = parseIndex(text)
    if (origins !== undefined) return origins
    const aside = `${path}.broken-${Date.now()}`
    await rename(path, aside)
    log.warn({ path, aside }, 'the index of the cache is broken and was set aside: its blobs stay, its tags are lost')
    return []
  }

  /** Writes what `content` returns when its turn comes. Returns at once; trouble is logged. */
  save(content: () => string): void {
    this.#content = content
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  /** Waits until what was saved is on disk, or could not be. */
  async flush(): Promise<void> {
    await this.#writing
  }

  async #write(): Promise<void> {
    const { path, temporaryPath, log } = this.#options
    // What changes together is written together.
    await new Promise((resolve) => setImmediate(resolve))
    for (let content = this.#content; content !== undefined; content = this.#content) {
      this.#content = undefined
      try {
        await writeFile(temporaryPath, content())
        await rename(temporaryPath, path)
      } catch (err) {
        await rm(temporaryPath, { force: true }).catch(() => {})
        log.warn({ err, path }, 'the index of the cache could not be written: after a restart it knows less')
      }
    }
  }
}
