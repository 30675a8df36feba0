import type { Digest } from '../../oci/digest.ts'

const MAX_MANIFESTS = 64
const MAX_BYTES = 16 * 1024 * 1024

interface Kept {
  readonly bytes: Uint8Array
  readonly until: number
}

/**
 * Verified manifests that passed by lately, least recently used out first: containerd commits one a moment after it was sent, other clients
 * never, and the neighbours ask at once.
 */
export class ManifestMemory {
  readonly #life: number
  readonly #kept = new Map<Digest, Kept>()
  #bytes = 0

  /** `life` in milliseconds. */
  constructor(life: number) {
    this.#life = life
  }

  put(digest: Digest, bytes: Uint8Array): void {
    this.#drop(digest)
    this.#kept.set(digest, { bytes, until: performance.now() + this.#life })
    this.#bytes += bytes.length
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_MANIFESTS && this.#bytes <= MAX_BYTES) return
      this.#drop(oldest)
    }
  }

  get(digest: Digest): Uint8Array | undefined {
    const kept = this.#kept.get(digest)
    if (kept === undefined) return undefined
    this.#kept.delete(digest)
    if (kept.until > performance.now()) {
      this.#kept.set(digest, kept)
      return kept.bytes
    }
    this.#bytes -= kept.bytes.length
    return undefined
  }

  #drop(digest: Digest): void {
    this.#bytes -= this.#kept.get(digest)?.bytes.length ?? 0
    this.#kept.delete(digest)
  }
}
