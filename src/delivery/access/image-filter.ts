import type { ImagePattern } from '../../oci/image-pattern.ts'
import type { Repository } from '../../oci/reference.ts'

/** An image, or all of a repository where no tag is known: a blob, or a manifest by digest. */
export interface NamedImage extends Repository {
  readonly tag?: string | undefined
}

/**
 * The images that `--include` and `--exclude` leave to this node. A pattern with tags decides about these tags alone: what is asked for by digest
 * belongs to a repository, and may belong to its other tags as well.
 */
export class ImageFilter {
  readonly #include: readonly ImagePattern[]
  readonly #exclude: readonly ImagePattern[]

  constructor({ include, exclude }: { include: readonly ImagePattern[]; exclude: readonly ImagePattern[] }) {
    this.#include = include
    this.#exclude = exclude
  }

  /** True if neither flag is set. */
  get isOpen(): boolean {
    return this.#include.length === 0 && this.#exclude.length === 0
  }

  /** The flag that leaves an image out; undefined if none does. */
  whyLeftOut(image: NamedImage): string | undefined {
    const { tag } = image
    const excluding = this.#exclude.find(
      (pattern) => pattern.matchesRepository(image) && (tag === undefined ? !pattern.hasTag : pattern.matchesTag(tag)),
    )
    if (excluding !== undefined) return `--exclude ${excluding.text}`
    const isIncluded = (pattern: ImagePattern) =>
      pattern.matchesRepository(image) && (tag === undefined || pattern.matchesTag(tag))
    return this.#include.length === 0 || this.#include.some(isIncluded) ? undefined : '--include'
  }
}
