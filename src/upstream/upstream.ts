import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Repository } from '../oci/reference.ts'
import type { QuotaView } from './quota/quota-view.ts'

/** The registries that images come from. Errors are UpstreamError; waiting for a header has a deadline of its own. */
export interface Upstream {
  /** Resolves a tag or digest by HEAD, which costs no quota. undefined if the upstream says it does not exist. */
  headManifest(repository: Repository, reference: string, options: UpstreamOptions): Promise<UpstreamTag | undefined>
  /** Reads a manifest by GET, which costs quota. undefined if it does not exist. Bytes are verified if `reference` is a digest. */
  getManifest(
    repository: Repository,
    reference: string,
    options: UpstreamOptions,
  ): Promise<UpstreamManifest | undefined>
  /**
   * Opens a blob at `start`, up to `end` or its own end. undefined if it does not exist. A body without a length of its own breaks off at its last
   * bytes unless it ends where the blob does.
   */
  getBlob(repository: Repository, digest: Digest, options: UpstreamBlobOptions): Promise<UpstreamBlob | undefined>
  /** Size of a blob by HEAD. undefined if it does not exist. */
  headBlob(repository: Repository, digest: Digest, options: SizedOptions): Promise<number | undefined>
  /**
   * Proves by a single HEAD, which costs no quota, that the registry serves a digest or tag of this repository. The answer may lack
   * size, digest and media type. undefined if the registry answers that the content does not exist.
   */
  shows(repository: Repository, asked: UpstreamQuestion, options: UpstreamOptions): Promise<UpstreamProof | undefined>
  /** Passes a listing (`tags/list?…`, `referrers/<digest>?…`) on, a bounded JSON document. */
  getListing(repository: Repository, pathAndQuery: string, options: UpstreamOptions): Promise<UpstreamListing>
}

export interface UpstreamOptions {
  readonly signal: AbortSignal
  /** Whose rights to use: the node's own credentials if there are any (default), none at all, or those of one pull. */
  readonly as?: 'node' | 'anonymous' | PullCredential
  /** The manifest types to ask for; all that Nabo knows if absent. */
  readonly accept?: readonly string[]
}

/** A manifest by tag or digest, or a blob by digest. */
export interface UpstreamQuestion {
  readonly kind: 'manifests' | 'blobs'
  readonly reference: string
}

export interface SizedOptions extends UpstreamOptions {
  /** The size of the blob that manifests state, in bytes: counts where the registry's answer has none. */
  readonly statedSize?: number | undefined
}

export interface UpstreamBlobOptions extends SizedOptions {
  /** The first byte that is wanted. */
  readonly start: number
  /** The byte after the last one that is wanted; undefined: all that follow. */
  readonly end?: number | undefined
  /** Addresses of the registry that are asked after the others, in this order: what they sent broke off. */
  readonly last?: readonly string[] | undefined
}

/** The credentials of one pull, as a client of the mirror sent them. */
export interface PullCredential {
  readonly username: string
  readonly password: string
  /** Set if the bytes that were sent are not UTF-8: each character of the two texts is one byte. */
  readonly encoding?: 'latin1'
}

export interface UpstreamTag {
  readonly descriptor: Descriptor
  /** The upstream's `Date`, milliseconds since the epoch; this node's clock if it sent none. */
  readonly date: number
  /** True if the request carried no credentials: the content is public. */
  readonly anonymous: boolean
}

/** Proof that a registry serves the requested content. */
export interface UpstreamProof {
  /** True if the request carried no credentials: the content is public. */
  readonly anonymous: boolean
  /** The requested digest or the tag's digest; absent if the registry does not send it. */
  readonly digest?: Digest
}

export interface UpstreamManifest extends UpstreamTag {
  readonly bytes: Uint8Array
}

export interface UpstreamBlob {
  /** Of the whole blob, in bytes. */
  readonly size: number
  /** The name of that one of the registry's addresses which gave it. */
  readonly address: string
  /** True if the request carried no credentials: the content is public. */
  readonly anonymous: boolean
  readonly body: AsyncIterable<Uint8Array>
  /** Ends the transfer early; safe to call at any time. */
  cancel(): void
}

export interface UpstreamListing {
  readonly status: number
  readonly contentType: string
  readonly link: string | undefined
  /** `OCI-Filters-Applied`: the parameters that the registry has heeded. */
  readonly filtersApplied?: string | undefined
  readonly body: Uint8Array
}

/** The codes of RFC 6750 3.1. Nothing else that a registry writes is repeated: it might be a secret. */
export const TOKEN_ERRORS = ['invalid_request', 'invalid_token', 'insufficient_scope'] as const
export type TokenError = (typeof TOKEN_ERRORS)[number]

/**
 * An upstream did not do what was asked. `reason` decides what the caller does next. `unsized`: neither it nor a manifest that this node has seen
 * states the size of the blob; another node may know it.
 */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly reason: 'denied' | 'limited' | 'unreachable' | 'failed' | 'invalid' | 'unsized'
  /** The status it answered with, if it answered. */
  readonly status: number | undefined

  /** The `error` of its Bearer challenge (RFC 6750 3.1), if it denied access with one. */
  readonly tokenError: TokenError | undefined
  /** When it may go better, in milliseconds from now, if that is known. */
  readonly retryAfter: number | undefined
  /** The quota that is used up, if that is why. */
  readonly limit: QuotaView | undefined
  /** The message without the explanation. */
  readonly brief: string
  /** Whether a registry refuses the user and password of this node itself. */
  readonly isNodeRefused: boolean

  constructor(reason: UpstreamError['reason'], message: string, options: UpstreamErrorOptions = {}) {
    const { explanation } = options
    super(explanation === undefined ? message : `${message}; ${explanation}`, { cause: options.cause })
    this.brief = message
    this.isNodeRefused = options.isNodeRefused ?? false
    this.reason = reason
    this.status = options.status
    this.tokenError = options.tokenError
    this.retryAfter = options.retryAfter
    this.limit = options.limit
  }
}

interface UpstreamErrorOptions {
  readonly cause?: unknown
  readonly status?: number | undefined
  readonly tokenError?: TokenError | undefined
  readonly retryAfter?: number | undefined
  readonly limit?: QuotaView | undefined
  /** What the failure means for the reader of the message, which it ends with. */
  readonly explanation?: string | undefined
  readonly isNodeRefused?: boolean | undefined
}
