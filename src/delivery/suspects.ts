import type { Digest } from '../oci/digest.ts'
import { minute } from '../time/units.ts'

/** How long it is remembered who gave a blob. */
const MEMORY = 10 * minute
const MAX_DIGESTS = 10_000

/**
 * Who gave a blob that has arrived whole and is not in the content store. Bulk bytes pass through unhashed and containerd
 * refuses wrong ones, so when such a blob is asked for again it may have been wrong: then somebody else is to give it.
 */
export class Suspects {
  readonly #givers = new Map<Digest, { readonly addresses: Set<string>; readonly until: number }>()

  /** A blob has arrived whole; these peers gave some of it. */
  note(digest: Digest, addresses: Iterable<string>): void {
    const known = this.of(digest)
    this.#givers.delete(digest)
    this.#givers.set(digest, { addresses: new Set([...known, ...addresses]), until: performance.now() + MEMORY })
    if (this.#givers.size > MAX_DIGESTS) this.#givers.delete(this.#givers.keys().next().value ?? digest)
  }

  /** The addresses of the peers that are better not asked for a blob. */
  of(digest: Digest): ReadonlySet<string> {
    const known = this.#givers.get(digest)
    return known !== undefined && known.until > performance.now() ? known.addresses : new Set()
  }

  /** The blob is in the content store, so it was right. */
  clear(digest: Digest): void {
    this.#givers.delete(digest)
  }
}
