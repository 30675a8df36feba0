import { type Digest, parseDigest } from '../../oci/digest.ts'
import { type IsMirror, parseImageReference, type Repository, repositoryKey } from '../../oci/reference.ts'
import type { ToldMediaType } from '../../oci/manifest.ts'
import type { ContentRow, ImageRow } from './rows.ts'

/** How containerd refers from an index to its manifests, for its garbage collection; to a manifest of an unknown type without `m.`. */
const CHILD_LABEL = /^containerd\.io\/gc\.ref\.content\.(?:m\.)?\d+$/

/** Manifests and indexes alone have such labels, for a config and for layers too. */
const ANY_CHILD_LABEL = 'containerd.io/gc.ref.content.'

interface ImageType {
  /** undefined if the image's name is no reference. */
  readonly repository: string | undefined
  readonly mediaType: string
}

/**
 * The media types of manifests in containerd's records. An image has that of its target, which its registry told; a manifest below an index
 * is in no record, but the index describes it.
 */
export class RecordedTypes {
  readonly #byTarget = new Map<Digest, ImageType[]>()
  readonly #parents = new Map<Digest, Set<Digest>>()
  readonly #manifests = new Set<Digest>()

  noteImage({ name, mediaType, target }: ImageRow, isMirror: IsMirror | undefined): void {
    if (mediaType === '') return
    const reference = parseImageReference(name, isMirror)
    const known = this.#byTarget.get(target) ?? []
    known.push({ repository: reference && repositoryKey(reference), mediaType })
    this.#byTarget.set(target, known)
    this.#manifests.add(target)
  }

  noteContent({ digest, labels }: ContentRow): void {
    for (const [label, value] of Object.entries(labels)) {
      if (label.startsWith(ANY_CHILD_LABEL)) this.#manifests.add(digest)
      const child = CHILD_LABEL.test(label) ? parseDigest(value) : undefined
      if (child !== undefined) this.#parents.set(child, (this.#parents.get(child) ?? new Set()).add(digest))
    }
  }

  /** The type of an image's target: in this repository, else in another one. */
  ofImage(digest: Digest, repository: Repository): ToldMediaType | undefined {
    const known = this.#byTarget.get(digest) ?? []
    const own = known.find((type) => type.repository === repositoryKey(repository))
    const found = own ?? known[0]
    return found && { mediaType: found.mediaType, isRegistrys: own !== undefined }
  }

  /** What images name, and what lists other content. Images may outlive what they name. */
  manifests(): Digest[] {
    return [...this.#manifests]
  }

  /** The indexes that list a manifest, of any repository: anybody may list any manifest, under any type. */
  parentsOf(digest: Digest): Digest[] {
    return [...(this.#parents.get(digest) ?? [])]
  }
}
