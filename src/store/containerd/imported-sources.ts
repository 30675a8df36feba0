import type { Digest } from '../../oci/digest.ts'
import { type Manifest, MAX_MANIFEST_BYTES, parseManifest } from '../../oci/manifest.ts'
import { type Repository, repositoryKey } from '../../oci/reference.ts'
import type { Catalog } from './catalog.ts'

export type Claims = ReadonlyMap<Digest, readonly Repository[]>

/**
 * The digests that imported images of a catalog reference. A blob with a source label came from a registry, whichever manifest lists
 * it: it never counts as imported, and the walk does not descend into it.
 */
export class ImportedSources {
  readonly #read: (digest: Digest) => Promise<Uint8Array | undefined>
  #last: { catalog: Catalog; claims: Promise<Claims> } | undefined
  #manifests = new Map<Digest, Manifest | undefined>()

  /** `read` gives the verified bytes of a manifest; undefined if it cannot be read. */
  constructor(read: (digest: Digest) => Promise<Uint8Array | undefined>) {
    this.#read = read
  }

  /** Walks each catalog once, when first asked about it. */
  claims(catalog: Catalog): Promise<Claims> {
    if (this.#last?.catalog !== catalog) this.#last = { catalog, claims: this.#walk(catalog) }
    return this.#last.claims
  }

  async #walk(catalog: Catalog): Promise<Claims> {
    const claims = new Map<Digest, Map<string, Repository>>()
    const used = new Map<Digest, Manifest | undefined>()
    for (const { repository, target } of catalog.imported) {
      const key = repositoryKey(repository)
      const queue = [target]
      for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
        const blob = catalog.blobs.get(digest)
        const claimed = claims.get(digest) ?? new Map<string, Repository>()
        if (blob === undefined || blob.labelled || claimed.has(key)) continue
        claims.set(digest, claimed.set(key, repository))
        if (blob.size > MAX_MANIFEST_BYTES) continue
        const manifest = used.has(digest) ? used.get(digest) : await this.#manifest(digest)
        used.set(digest, manifest)
        for (const child of manifest?.children ?? []) {
          if (manifest?.kind === 'index') queue.push(child.digest)
          else if (catalog.blobs.get(child.digest)?.labelled === false) {
            const leaf = claims.get(child.digest) ?? new Map<string, Repository>()
            claims.set(child.digest, leaf.set(key, repository))
          }
        }
      }
    }
    this.#manifests = used
    return new Map(claims.entries().map(([digest, claimed]) => [digest, [...claimed.values()]]))
  }

  async #manifest(digest: Digest): Promise<Manifest | undefined> {
    if (this.#manifests.has(digest)) return this.#manifests.get(digest)
    const bytes = await this.#read(digest)
    // An unreadable manifest claims nothing; whoever asks for it by its digest is told why.
    return bytes && parseManifest(bytes)
  }
}
