import type { Digest } from '../../oci/digest.ts'
import { minute } from '../../time/units.ts'
import type { PullCredential } from '../../upstream/upstream.ts'

/** A client of the mirror that sent credentials. Its rights are checked per digest. */
export interface Caller {
  /** Identifies the credentials without revealing them; valid in this process only. */
  readonly id: string
  readonly credential: PullCredential
}

/**
 * The receiver of content: a client on this node, with its own credentials or with the rights that every client on this node has, or a
 * peer. `verified`: the peer, an authenticated member, claims that the registry showed this digest or tag to its client.
 */
export type Audience =
  | { readonly kind: 'node'; readonly caller?: Caller | undefined }
  | { readonly kind: 'peer'; readonly verified?: boolean }

/**
 * Content that arrives without credentials counts as public if its registry showed the repository to everybody at most this many
 * milliseconds earlier. Equal to the lifetime of a proof for a client.
 */
export const GRACE = 5 * minute

/** A peer that claims no right of its client. */
export const PEER: Audience = { kind: 'peer' }

/** A manifest or blob by its digest. */
export interface NamedContent {
  readonly kind: 'manifests' | 'blobs'
  readonly digest: Digest
}

/** A digest or tag for a request to a registry. */
export interface Probe {
  readonly kind: 'manifests' | 'blobs'
  readonly reference: string
}

/**
 * A registry's answer about one digest or tag of one repository. `shown`: 200, the proof of a right. `refused`: 401 or 403, which
 * concerns the whole repository. `absent`: 404. `unclear`: another answer that does not show the content, such as a page or a demand for a token
 * without a place to get one. `unknown`: the registry could not be asked (no answer, a rate limit, a status of 500 and more), so older proofs
 * still count.
 */
export type RegistryWord = 'shown' | 'refused' | 'absent' | 'unclear' | 'unknown'

/** What a node tells another one about a registry's answer to a request without credentials; `age` in milliseconds. */
export interface PublicWord {
  readonly word: Exclude<RegistryWord, 'unclear'>
  readonly age: number
}
