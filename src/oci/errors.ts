/** The codes of the distribution specification, with the status and the sentence that goes with each. */
export const OCI_ERRORS = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to registry' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  DIGEST_INVALID: { status: 400, message: 'the digest is malformed or of an unknown algorithm' },
  RANGE_INVALID: { status: 416, message: 'the range is not satisfiable' },
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  NOT_FOUND: { status: 404, message: 'no such endpoint' },
  // Not 429: containerd repeats that at once, and again.
  TOOMANYREQUESTS: { status: 503, message: 'too many requests' },
  UNAVAILABLE: { status: 503, message: 'the content cannot be had right now' },
  UNKNOWN: { status: 500, message: 'internal error' },
} as const

export type OciErrorCode = keyof typeof OCI_ERRORS

/** A refusal in the words of the distribution specification. Handlers throw it, one place writes it. */
export class OciError extends Error {
  override readonly name = 'OciError'
  readonly code: OciErrorCode
  readonly status: number
  readonly detail: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: OciErrorCode,
    options: {
      message?: string
      status?: number
      detail?: unknown
      cause?: unknown
      headers?: Record<string, string>
    } = {},
  ) {
    super(options.message ?? OCI_ERRORS[code].message, { cause: options.cause })
    this.code = code
    this.status = options.status ?? OCI_ERRORS[code].status
    this.detail = options.detail
    this.headers = options.headers ?? {}
  }

  /** The body of the answer, a JSON document. */
  body(): string {
    const detail = this.detail === undefined ? {} : { detail: this.detail }
    return JSON.stringify({ errors: [{ code: this.code, message: this.message, ...detail }] })
  }
}
