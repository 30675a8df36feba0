import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import type { Descriptor } from '../../src/oci/manifest.ts'

const EVERY_MS = 250

interface Arrival {
  readonly descriptor: Descriptor
  bytes: number
  /** When the client began to wait for the next byte, of `performance.now()`; undefined until the client has asked for the blob. */
  grew: number | undefined
  longestGapMs: number
}

/** Watches blobs arrive in a content store on disk, and how long each one stands still. A step is seen up to 250 ms late. */
export class ArrivalWatch {
  readonly #contentPath: string
  readonly #arrivals: readonly Arrival[]
  /** The digest that an ingest directory is for. */
  readonly #ingests = new Map<string, string>()
  readonly #timer: NodeJS.Timeout

  constructor(contentPath: string, descriptors: readonly Descriptor[]) {
    this.#contentPath = contentPath
    this.#arrivals = descriptors.map((descriptor) => ({ descriptor, bytes: 0, grew: undefined, longestGapMs: 0 }))
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  /** Bytes of all blobs so far. */
  get bytes(): number {
    return this.#arrivals.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** The longest time that any one blob waited for its next byte since the client asked for it, in milliseconds. */
  get longestGapMs(): number {
    return Math.max(...this.#arrivals.map(({ longestGapMs }) => longestGapMs))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#look()
  }

  #look(): void {
    const now = performance.now()
    const growing = this.#growing()
    for (const arrival of this.#arrivals) {
      const { digest, size } = arrival.descriptor
      if (arrival.bytes === size) continue
      const bytes = this.#isCommitted(digest) ? size : growing.get(digest)
      if (bytes === undefined) continue
      arrival.grew ??= now
      arrival.longestGapMs = Math.max(arrival.longestGapMs, now - arrival.grew)
      // A retry may begin with less: what counts is that bytes come.
      if (bytes !== arrival.bytes) arrival.grew = now
      arrival.bytes = bytes
    }
  }

  #isCommitted(digest: string): boolean {
    return sizeOf(join(this.#contentPath, 'blobs', digest.replace(':', '/'))) !== undefined
  }

  /** Sizes by digest of what is in progress. */
  #growing(): Map<string, number> {
    const sizes = new Map<string, number>()
    const ingest = join(this.#contentPath, 'ingest')
    for (const id of list(ingest)) {
      const size = sizeOf(join(ingest, id, 'data'))
      const digest = this.#ingests.get(id) ?? digestOfIngest(join(ingest, id, 'ref'))
      if (digest === undefined || size === undefined) continue
      this.#ingests.set(id, digest)
      sizes.set(digest, Math.max(size, sizes.get(digest) ?? 0))
    }
    return sizes
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size
  } catch {
    return undefined
  }
}

function digestOfIngest(path: string): string | undefined {
  try {
    return /sha256:[0-9a-f]{64}$/.exec(readFileSync(path, 'utf8'))?.[0]
  } catch {
    return undefined
  }
}
