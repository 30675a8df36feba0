import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'

import { errorText } from '../../telemetry/log.ts'
import { makeDirectories } from '../../files/make-directories.ts'

/** `f_type` of tmpfs, whose files are memory. https://man7.org/linux/man-pages/man2/statfs.2.html */
const TMPFS = 0x01021994
/** Cap on all spooled bytes where the directory is in memory. */
const MAX_MEMORY = 64 * 1024 * 1024

/** A temporary file cannot be written: the directory is missing, read-only or full. */
export class SpoolError extends Error {
  override readonly name = 'SpoolError'
}

/** Temporary files in one directory, within half of its free space. Each is unlinked when it is created, so that none outlives the process. */
export class Spool {
  readonly #directory: string
  /** Bytes that are reserved for open files. */
  #reserved = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  /** A file for `size` bytes. Throws SpoolError. */
  async create(size: number): Promise<SpoolFile> {
    try {
      return await this.#create(size)
    } catch (cause) {
      if (cause instanceof SpoolError) throw cause
      throw new SpoolError(`no temporary file in ${this.#directory}: ${errorText(cause)}`, { cause })
    }
  }

  async #create(size: number): Promise<SpoolFile> {
    await makeDirectories(this.#directory, { mode: 0o700 })
    const { type, bavail, bsize } = await statfs(this.#directory)
    // Bytes that are already written count twice, in `bavail` and in `#reserved`: files get less than half of the space, never more.
    const room = Math.min(type === TMPFS ? MAX_MEMORY : Infinity, (bavail * bsize) / 2) - this.#reserved
    if (size > room) throw new SpoolError(`${this.#directory} has no room for a temporary file of ${size} bytes`)
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

  /** Throws SpoolError. */
  async write(chunk: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < chunk.length;) {
        const { bytesWritten } = await this.#handle.write(chunk, done, chunk.length - done, position + done)
        done += bytesWritten
      }
    } catch (cause) {
      throw new SpoolError(`a temporary file cannot be written: ${errorText(cause)}`, { cause })
    }
  }

  /** Reads up to `length` bytes; returns their number, 0 at the end of the file. */
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
