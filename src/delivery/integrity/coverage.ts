import type { ByteSpan } from '../../oci/range.ts'

/** A blob fetched in parallel has some dozens of parts at a time; what comes on top is not noted, so less counts as covered. */
const MAX_SPANS = 256

/** Which bytes of a blob are meant, in any order and overlapping. */
export class Coverage {
  /** Sorted, neither overlapping nor touching. */
  #spans: ByteSpan[] = []

  add(span: ByteSpan): void {
    if (span.end <= span.start) return
    const apart = this.#spans.filter(({ start, end }) => end < span.start || start > span.end)
    if (apart.length === this.#spans.length && apart.length >= MAX_SPANS) return
    const joined = this.#spans.filter(({ start, end }) => end >= span.start && start <= span.end)
    const start = Math.min(span.start, ...joined.map((other) => other.start))
    const end = Math.max(span.end, ...joined.map((other) => other.end))
    this.#spans = [...apart, { start, end }].sort((a, b) => a.start - b.start)
  }

  covers(span: ByteSpan): boolean {
    return this.#spans.some(({ start, end }) => start <= span.start && end >= span.end)
  }

  clear(): void {
    this.#spans = []
  }
}
