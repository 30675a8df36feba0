import { UpstreamError } from '../../upstream/upstream.ts'
import type { BlobSources, UpstreamStream } from './blob-sources.ts'
import type { BlobRequest } from './blob-request.ts'
import type { UpstreamRates } from './upstream-rates.ts'

const MAX_FAILURES = 3

/** One transfer's tries at the upstream. */
export class UpstreamTries {
  readonly #sources: BlobSources
  readonly #rates: UpstreamRates
  readonly #request: BlobRequest
  #failures = 0
  #open: { readonly since: number; readonly position: number } | undefined
  #address = ''
  /** Addresses whose bytes broke off, the latest at the end: another one may have a better CDN. */
  #broken: readonly string[] = []
  /** The upstream says that it does not have it. */
  absent = false
  lastError: unknown

  constructor(request: BlobRequest, parts: { sources: BlobSources; rates: UpstreamRates }) {
    this.#request = request
    this.#sources = parts.sources
    this.#rates = parts.rates
  }

  /** undefined if it does not have it, must not be asked, or failed too often without giving a byte. */
  async open(position: number, end: number | undefined, signal: AbortSignal): Promise<UpstreamStream | undefined> {
    if (!this.#sources.fallsBack(this.#request.repository)) return undefined
    while (!this.absent && this.#failures < MAX_FAILURES) {
      try {
        const stream = await this.#sources.openUpstream(this.#request, { position, end, last: this.#broken, signal })
        this.absent = stream === undefined
        if (stream === undefined) return undefined
        this.#open = { since: performance.now(), position }
        this.#address = stream.address
        return stream
      } catch (error) {
        signal.throwIfAborted()
        this.lastError = error
        const retryable = error instanceof UpstreamError && error.reason === 'unreachable'
        this.#failures = retryable ? this.#failures + 1 : MAX_FAILURES
      }
    }
    return undefined
  }

  broke({ progressed }: { progressed: boolean }): void {
    this.#failures = progressed ? 1 : this.#failures + 1
    this.#broken = [...this.#broken.filter((address) => address !== this.#address), this.#address]
  }

  /** Nothing more is read of what was opened last; `position` is the first byte that did not come. */
  ended(position: number): void {
    if (this.#open === undefined) return
    const { since, position: from } = this.#open
    this.#open = undefined
    this.#rates.note(this.#request.repository.registry, position - from, performance.now() - since)
  }
}
