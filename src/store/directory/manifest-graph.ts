import type { Digest } from '../../oci/digest.ts'
import { parseManifest } from '../../oci/manifest.ts'

/** Which manifests name which digests. */
export class ManifestGraph {
  readonly #children = new Map<Digest, readonly Digest[]>()
  readonly #parents = new Map<Digest, Set<Digest>>()

  has(manifest: Digest): boolean {
    return this.#children.has(manifest)
  }

  /** Adds a manifest by its bytes; what is not one names nothing. */
  add(bytes: Uint8Array, manifest: Digest): void {
    if (this.has(manifest)) return
    const children = parseManifest(bytes)?.children.map((child) => child.digest) ?? []
    this.#children.set(manifest, children)
    for (const child of children) {
      const parents = this.#parents.get(child)
      if (parents === undefined) this.#parents.set(child, new Set([manifest]))
      else parents.add(manifest)
    }
  }

  delete(manifest: Digest): void {
    for (const child of this.#children.get(manifest) ?? []) {
      const parents = this.#parents.get(child)
      parents?.delete(manifest)
      if (parents?.size === 0) this.#parents.delete(child)
    }
    this.#children.delete(manifest)
  }

  /** The digest itself, what names it, what names that, and so on. */
  withAncestors(digest: Digest): ReadonlySet<Digest> {
    const found = new Set([digest])
    // A set's iteration also visits what is added meanwhile.
    for (const each of found) for (const parent of this.#parents.get(each) ?? []) found.add(parent)
    return found
  }
}
