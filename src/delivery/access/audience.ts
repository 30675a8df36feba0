import type { Digest } from '../../oci/digest.ts'
import { minute } from '../../time/units.ts'
import type { PullCredential } from '../../upstream/upstream.ts'

/** A client of the mirror that sent credentials. What its registry shows to it is found out content by content. */
export interface Caller {
  /** Tells callers apart without their secrets; means nothing outside this process. */
  readonly id: string
  readonly credential: PullCredential
}

/**
 * Who asks: a client on this node, with its own credentials or with the rights that every client on this node has, or a peer on behalf
 * of its clients. `verified`: the peer says, and proves with the cluster secret that it says so, that the registry showed this very digest
 * or tag to its client.
 */
export type Audience =
  | { readonly kind: 'node'; readonly caller?: Caller | undefined }
  | { readonly kind: 'peer'; readonly verified?: boolean }

/**
 * How long after a registry has shown a repository to everybody content that comes from it without credentials still counts as public, in
 * milliseconds. As long as a proof for a client counts.
 */
export const GRACE = 5 * minute

/** A peer that says nothing about its client. */
export const PEER: Audience = { kind: 'peer' }

/** A content by its digest, as requests name it. */
export interface NamedContent {
  readonly kind: 'manifests' | 'blobs'
  readonly digest: Digest
}

/** What a registry is asked for: a digest or a tag. */
export interface Probe {
  readonly kind: 'manifests' | 'blobs'
  readonly reference: string
}

/**
 * What a registry says when it is asked for one content of one repository. `shown`: 200, the proof of a right. `refused`: 401 or 403, which
 * concerns the whole repository. `absent`: 404. `unknown`: it could not be asked, or did not say.
 */
export type RegistryWord = 'shown' | 'refused' | 'absent' | 'unknown'

/** A registry's word for everybody, and how long ago it was given, in milliseconds. */
export interface PublicWord {
  readonly word: RegistryWord
  readonly age: number
}
