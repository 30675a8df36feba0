import type { Digest } from '../../oci/digest.ts'

export interface StoredBlob {
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly usedAt: number
}

/** Which blobs take up the room of a cache, how recently they were used, and which of them are in use now. */
export class Space {
  readonly maxBytes: number
  /** Least recently used first. */
  readonly #blobs = new Map<Digest, StoredBlob>()
  readonly #pins = new Map<Digest, number>()
  #used = 0
  #reserved = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get used(): number {
    return this.#used
  }

  get(digest: Digest): StoredBlob | undefined {
    return this.#blobs.get(digest)
  }

  has(digest: Digest): boolean {
    return this.#blobs.has(digest)
  }

  /** Least recently used first. */
  entries(): IterableIterator<[Digest, StoredBlob]> {
    return this.#blobs.entries()
  }

  /** Those of some blobs that are held, most recently used first. */
  latestFirst(digests: readonly Digest[]): Digest[] {
    const usedAt = (digest: Digest) => this.#blobs.get(digest)?.usedAt ?? 0
    return digests.filter((digest) => this.has(digest)).sort((a, b) => usedAt(b) - usedAt(a))
  }

  /** Adds a blob as the most recently used one. */
  add(digest: Digest, blob: StoredBlob): void {
    this.delete(digest)
    this.#blobs.set(digest, blob)
    this.#used += blob.size
  }

  touch(digest: Digest, usedAt: number): void {
    const blob = this.#blobs.get(digest)
    if (blob !== undefined) this.add(digest, { size: blob.size, usedAt })
  }

  delete(digest: Digest): boolean {
    const blob = this.#blobs.get(digest)
    if (blob === undefined) return false
    this.#used -= blob.size
    return this.#blobs.delete(digest)
  }

  /** Keeps a blob from being chosen to go until the returned function is called. */
  pin(digest: Digest): () => void {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1)
    let pinned = true
    return () => {
      if (!pinned) return
      pinned = false
      const left = (this.#pins.get(digest) ?? 1) - 1
      if (left === 0) this.#pins.delete(digest)
      else this.#pins.set(digest, left)
    }
  }

  /** Promises `size` bytes to a blob that is on its way. */
  reserve(size: number): void {
    this.#reserved += size
  }

  release(size: number): void {
    this.#reserved -= size
  }

  /**
   * Which blobs have to go so that `size` more bytes fit, least recently used first; undefined if they can't be made to.
   * `missing` is how many bytes the disk itself is short of.
   */
  victims(size: number, missing: number): Digest[] | undefined {
    let toFree = Math.max(this.#used + this.#reserved + size - this.maxBytes, missing)
    const victims: Digest[] = []
    for (const [digest, blob] of this.#blobs) {
      if (toFree <= 0) break
      if (this.#pins.has(digest)) continue
      victims.push(digest)
      toFree -= blob.size
    }
    return toFree <= 0 ? victims : undefined
  }
}
