import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'

import { makeDirectories } from '../../files/make-directories.ts'

/** `f_type` of tmpfs, whose files are memory. https://man7.org/linux/man-pages/man2/statfs.2.html */
const TMPFS = 0x01021994
/** Cap on all spooled bytes where the directory is in memory. */
const MAX_MEMORY = 64 * 1024 * 1024

/** Temporary files in one directory, within half of its free space. Each is unlinked when it is created, so that none outlives the process. */
export class Spool {
  readonly #directory: string
  /** Sizes that were promised to open files. */
  #reserved = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  /** A file for `size` bytes; undefined if there is no room. Throws the system's error if the directory cannot be written. */
  async create(size: number): Promise<SpoolFile | undefined> {
    await makeDirectories(this.#directory, { mode: 0o700 })
    const { type, bavail, bsize } = await statfs(this.#directory)
    // Bytes that are written already count twice, which errs on the safe side.
    const room = Math.min(type === TMPFS ? MAX_MEMORY : Infinity, (bavail * bsize) / 2) - this.#reserved
    if (size > room) return undefined
    this.#reserved += size
    try {
      const path = join(this.#directory, `.nabo-${randomUUID()}`)
      const handle = await open(path, 'wx+', 0o600)
      await rm(path, { force: true })
      return new SpoolFile(handle, () => (this.#reserved -= size))
    } catch (error) {
      this.#reserved -= size
      throw error
    }
  }
}

/** One temporary file. */
export class SpoolFile {
  readonly #handle: FileHandle
  readonly #onClose: () => void

  constructor(handle: FileHandle, onClose: () => void) {
    this.#handle = handle
    this.#onClose = onClose
  }

  async write(chunk: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < chunk.length;) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.length - done, position + done)
      done += bytesWritten
    }
  }

  /** Reads up to `length` bytes; returns how many. */
  async read(target: Uint8Array, length: number, position: number): Promise<number> {
    const { bytesRead } = await this.#handle.read(target, 0, length, position)
    return bytesRead
  }

  /** Frees the space. Call it once. */
  async close(): Promise<void> {
    this.#onClose()
    await this.#handle.close()
  }
}
