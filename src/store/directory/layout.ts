import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { makeDirectories } from '../../files/make-directories.ts'
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../../oci/digest.ts'
import type { Log } from '../../telemetry/log.ts'

const ALGORITHMS = ['sha256', 'sha512'] as const
const STAT_BATCH = 64

export interface FoundBlob {
  readonly digest: Digest
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly modifiedAt: number
}

/**
 * File paths in a cache directory. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 * `ingest` (blobs being written) and `origins.json` (repositories that blobs came from) are not part of the specification.
 */
export class Layout {
  readonly directory: string
  readonly index: string
  readonly origins: string
  readonly lock: string
  readonly ingest: string

  constructor(directory: string) {
    this.directory = directory
    this.index = join(directory, 'index.json')
    this.origins = join(directory, 'origins.json')
    this.lock = join(directory, 'nabo.lock')
    this.ingest = join(directory, 'ingest')
  }

  blob(digest: Digest): string {
    return join(this.directory, 'blobs', digestAlgorithm(digest), digestHex(digest))
  }

  temporary(name: string): string {
    return join(this.ingest, name)
  }

  /** Makes the directories that are missing. */
  async create(): Promise<void> {
    for (const algorithm of ALGORITHMS) await makeDirectories(join(this.directory, 'blobs', algorithm))
    await makeDirectories(this.ingest)
  }

  /** Removes what a crash left half written, and marks the directory as an image layout. */
  async prepare(): Promise<void> {
    for (const name of await readdir(this.ingest)) await rm(this.temporary(name), { recursive: true, force: true })
    await writeFile(join(this.directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  }

  /** The blobs that are there, in no order. What is not one is left alone and warned of. */
  async scan(log: Pick<Log, 'warn'>): Promise<FoundBlob[]> {
    const found: FoundBlob[] = []
    for (const algorithm of ALGORITHMS) {
      const names = await readdir(join(this.directory, 'blobs', algorithm))
      for (let start = 0; start < names.length; start += STAT_BATCH) {
        const batch = names.slice(start, start + STAT_BATCH)
        found.push(...(await Promise.all(batch.map((name) => this.#look(algorithm, name, log)))).flat())
      }
    }
    return found
  }

  async #look(algorithm: string, name: string, log: Pick<Log, 'warn'>): Promise<FoundBlob[]> {
    const digest = parseDigest(`${algorithm}:${name}`)
    const stats = await stat(join(this.directory, 'blobs', algorithm, name)).catch(() => undefined)
    if (digest === undefined || stats?.isFile() !== true) {
      log.warn({ directory: this.directory, algorithm, name }, 'ignoring what is not a blob in the cache directory')
      return []
    }
    return [{ digest, size: stats.size, modifiedAt: stats.mtimeMs }]
  }
}
