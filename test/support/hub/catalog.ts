import { z } from 'zod'

import type { Digest } from '../../../src/oci/digest.ts'
import type { Content, Image } from '../image-maker.ts'

const manifestSchema = z.object({
  subject: z.object({ digest: z.string() }).optional(),
  artifactType: z.string().optional(),
  config: z.object({ mediaType: z.string() }).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
})

interface Repository {
  readonly tags: Map<string, Digest>
  readonly manifests: Map<string, Content>
  readonly blobs: Map<string, Content>
}

/** What the hub has. Images share their bytes with whoever published them. */
export class Catalog {
  readonly #repositories = new Map<string, Repository>()

  publish(name: string, tag: string, image: Image): void {
    const key = libraryName(name)
    const repository = this.#repositories.get(key) ?? { tags: new Map(), manifests: new Map(), blobs: new Map() }
    this.#repositories.set(key, repository)
    for (const manifest of image.manifests) repository.manifests.set(manifest.descriptor.digest, manifest)
    for (const blob of image.blobs) repository.blobs.set(blob.descriptor.digest, blob)
    repository.tags.set(tag, image.root.descriptor.digest)
  }

  retag(name: string, tag: string, digest: Digest): void {
    const repository = this.#repositories.get(libraryName(name))
    if (repository?.manifests.has(digest) !== true) throw new Error(`hub: ${name} has no manifest ${digest}`)
    repository.tags.set(tag, digest)
  }

  remove(name: string): void {
    this.#repositories.delete(libraryName(name))
  }

  has(name: string): boolean {
    return this.#repositories.has(name)
  }

  manifest(name: string, reference: string): Content | undefined {
    const repository = this.#repositories.get(name)
    return repository?.manifests.get(repository.tags.get(reference) ?? reference)
  }

  blob(name: string, digest: string): Content | undefined {
    const repository = this.#repositories.get(name)
    return repository?.blobs.get(digest) ?? repository?.manifests.get(digest)
  }

  /** A blob of any repository: the CDN knows no names. */
  anyBlob(digest: string): Content | undefined {
    for (const name of this.#repositories.keys()) {
      const blob = this.blob(name, digest)
      if (blob !== undefined) return blob
    }
    return undefined
  }

  /** Sorted as the specification wants it. */
  tags(name: string): readonly string[] {
    return [...(this.#repositories.get(name)?.tags.keys() ?? [])].sort()
  }

  /** Descriptors of the manifests whose `subject` is `digest`. */
  referrers(name: string, digest: string): readonly Referrer[] {
    const manifests = [...(this.#repositories.get(name)?.manifests.values() ?? [])]
    return manifests.flatMap(({ descriptor, bytes }) => {
      const document = manifestSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
      if (document.subject?.digest !== digest) return []
      const artifactType = document.artifactType ?? document.config?.mediaType ?? ''
      const annotations = document.annotations === undefined ? {} : { annotations: document.annotations }
      return [{ ...descriptor, artifactType, ...annotations }]
    })
  }
}

export interface Referrer {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly artifactType: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** `app` is short for `library/app`; in a URL only the long form exists. */
export function libraryName(name: string): string {
  return name.includes('/') ? name : `library/${name}`
}
