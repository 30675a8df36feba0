import type { Digest } from '../../oci/digest.ts'
import type { Log } from '../../telemetry/log.ts'

/** Blobs of this node's content store that failed their own hash. Each stays here until the store drops it. */
export class Quarantine {
  readonly #digests = new Set<Digest>()
  readonly #log: Pick<Log, 'error'>
  #listener: (digest: Digest) => void = () => {}
  #total = 0

  constructor(log: Pick<Log, 'error'>) {
    this.#log = log
  }

  has(digest: Digest): boolean {
    return this.#digests.has(digest)
  }

  add(digest: Digest): void {
    if (this.#digests.has(digest)) return
    this.#digests.add(digest)
    this.#total += 1
    this.#log.error({ digest }, 'a stored blob is damaged: it is not given to anybody until the content store drops it')
    this.#listener(digest)
  }

  /** The store has dropped it: what it takes in next is right. */
  end(digest: Digest): void {
    this.#digests.delete(digest)
  }

  /** Tells of each digest that comes in. One listener. */
  onAdded(listener: (digest: Digest) => void): void {
    this.#listener = listener
  }

  /** How many are in it now. */
  get size(): number {
    return this.#digests.size
  }

  /** How many came in since the start. */
  get total(): number {
    return this.#total
  }
}
