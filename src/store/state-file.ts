import { readFile, rename, rm, writeFile } from 'node:fs/promises'

import type { Log } from '../telemetry/log.ts'
import { errorCode } from './file-blob.ts'

export interface StateFileOptions<T> {
  readonly path: string
  /** On the same file system as `path`. */
  readonly temporaryPath: string
  /** Reads the text of the file; undefined if it is broken as a whole. */
  readonly parse: (text: string) => T | undefined
  /** What the file is, for the log: `index of the cache`. */
  readonly what: string
  /** What a broken file costs, for the log. */
  readonly loss: string
  readonly log: Pick<Log, 'warn'>
}

/** A file that keeps state over a restart. Writes are atomic, one at a time, and what changes during one is written by one more. */
export class StateFile<T> {
  readonly #options: StateFileOptions<T>
  #content: (() => string) | undefined
  #writing: Promise<void> | undefined

  constructor(options: StateFileOptions<T>) {
    this.#options = options
  }

  /** What the file says; undefined if it is missing or broken. A broken one is set aside, not lost. */
  async read(): Promise<T | undefined> {
    const { path, parse, what, loss, log } = this.#options
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined
      throw error
    }
    const state = parse(text)
    if (state !== undefined) return state
    const aside = `${path}.broken-${Date.now()}`
    await rename(path, aside)
    log.warn({ path, aside }, `the ${what} is broken and was set aside: ${loss}`)
    return undefined
  }

  /** Writes what `content` returns when its turn comes. Returns at once; a failed write is logged. */
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
    const { path, temporaryPath, what, log } = this.#options
    // What changes together is written together.
    await new Promise((resolve) => setImmediate(resolve))
    for (let content = this.#content; content !== undefined; content = this.#content) {
      this.#content = undefined
      try {
        await writeFile(temporaryPath, content())
        await rename(temporaryPath, path)
      } catch (err) {
        await rm(temporaryPath, { force: true }).catch(() => {})
        log.warn({ err, path }, `the ${what} could not be written: after a restart it knows less`)
      }
    }
  }
}
