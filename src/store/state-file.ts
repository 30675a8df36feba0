import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'

import type { Log } from '../telemetry/log.ts'
import { errorCode } from './file-blob.ts'

export interface StateFileOptions<T> {
  readonly path: string
  /** On the same file system as `path`. */
  readonly temporaryPath: string
  /** Permissions of the file; the system's default if absent. */
  readonly mode?: number
  /** A longer file is broken. */
  readonly maxBytes?: number
  /** Parses the text of the file; undefined if the whole file is broken. */
  readonly parse: (text: string) => T | undefined
  /** Description of the file for the log, such as `index of the cache`. */
  readonly what: string
  /** Consequence of a broken file, for the log. */
  readonly loss: string
  readonly log: Pick<Log, 'warn'>
}

/** A file that keeps state across restarts. Writes are atomic and sequential; changes during a write share the next one. */
export class StateFile<T> {
  readonly #options: StateFileOptions<T>
  #content: (() => string) | undefined
  #writing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: StateFileOptions<T>) {
    this.#options = options
  }

  /** Reads the state; undefined if the file is missing or broken. A broken file is renamed to `<path>.broken`, over an earlier one. */
  async read(): Promise<T | undefined> {
    const { path, parse, what, loss, log, maxBytes = Infinity } = this.#options
    let text: string | undefined
    try {
      text = (await stat(path)).size > maxBytes ? undefined : await readFile(path, 'utf8')
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined
      throw error
    }
    const state = text === undefined ? undefined : parse(text)
    if (state !== undefined) return state
    // One name: files that break again and again do not fill the disk.
    const aside = `${path}.broken`
    await rename(path, aside)
    log.warn({ path, aside }, `the ${what} is broken and was set aside: ${loss}`)
    return undefined
  }

  /** Schedules a write of what `content` returns at that time. Returns at once; a failed write is logged. */
  save(content: () => string): void {
    this.#content = content
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  /** As {@link save}, at most `delay` milliseconds later: calls until then share one write, of what the last one gives. */
  saveWithin(delay: number, content: () => string): void {
    this.#content = content
    this.#timer ??= setTimeout(() => this.#saveNow(), delay).unref()
  }

  /** Begins delayed writes, and waits until pending writes have succeeded or failed. */
  async flush(): Promise<void> {
    if (this.#timer !== undefined) this.#saveNow()
    await this.#writing
  }

  #saveNow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#content !== undefined) this.save(this.#content)
  }

  async #write(): Promise<void> {
    const { mode, path, temporaryPath, what, log } = this.#options
    // Batch changes of the same turn into one write.
    await new Promise((resolve) => setImmediate(resolve))
    for (let content = this.#content; content !== undefined; content = this.#content) {
      this.#content = undefined
      try {
        await writeFile(temporaryPath, content(), mode === undefined ? {} : { mode })
        await rename(temporaryPath, path)
      } catch (err) {
        await rm(temporaryPath, { force: true }).catch(() => {})
        log.warn({ err, path }, `the ${what} could not be written: after a restart it knows less`)
      }
    }
  }
}
