import type { PullCredential } from '../../upstream/upstream.ts'

/** A client of the mirror whose own credentials its registry took for what it asks for. */
export interface Caller {
  /** Tells callers apart without their secrets; means nothing outside this process. */
  readonly id: string
  readonly credential: PullCredential
}

/**
 * Who asks: a client on this node, as itself or with what everybody on this node may see, or a peer on behalf of its clients. `verified`:
 * the peer has asked the registry as its client about this very digest or tag, and proved with the cluster's secret that it says so.
 */
export type Audience =
  | { readonly kind: 'node'; readonly caller?: Caller | undefined }
  | { readonly kind: 'peer'; readonly verified?: boolean }

/** A peer that says nothing about its client. */
export const PEER: Audience = { kind: 'peer' }
