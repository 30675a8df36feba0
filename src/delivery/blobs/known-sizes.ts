import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'

const MAX_SIZES = 10_000

/** What manifests that passed by say about the sizes of what they name: a growing file often does not know its own. */
export class KnownSizes {
  /** undefined: two manifests disagree, so one of them lies. */
  readonly #sizes = new Map<Digest, number | undefined>()

  /** Notes what a verified manifest names. */
  note(children: Iterable<Descriptor>): void {
    for (const { digest, size } of children) {
      const agreed = !this.#sizes.has(digest) || this.#sizes.get(digest) === size
      this.#sizes.delete(digest)
      if (this.#sizes.size >= MAX_SIZES) this.#sizes.delete(this.#sizes.keys().next().value ?? digest)
      this.#sizes.set(digest, agreed ? size : undefined)
    }
  }

  /** In bytes, as far as anybody can say before the content itself has been seen; undefined if it is not known. */
  of(digest: Digest): number | undefined {
    return this.#sizes.get(digest)
  }
}
