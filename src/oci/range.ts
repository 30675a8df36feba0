/** A `Range` header as sent, before the size is known. Offsets are in bytes and inclusive. */
export type RangeRequest =
  | { readonly type: 'whole' }
  | { readonly type: 'from'; readonly start: number; readonly end?: number }
  | { readonly type: 'suffix'; readonly length: number }

/** The bytes `start` to `end`, `end` exclusive. */
export interface ByteSpan {
  readonly start: number
  readonly end: number
}

const WHOLE: RangeRequest = { type: 'whole' }

/**
 * Reads a `Range` header. What is not one satisfiable-looking byte range (another unit, several ranges, nonsense) asks for
 * the whole, as RFC 9110 14.2 allows.
 */
export function parseRange(header: string | undefined): RangeRequest {
  if (header === undefined) return WHOLE
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header.trim())
  if (match === null) return WHOLE
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? WHOLE : { type: 'suffix', length: toOffset(last) }
  const start = toOffset(first)
  if (last === '') return { type: 'from', start }
  const end = toOffset(last)
  return end < start ? WHOLE : { type: 'from', start, end }
}

/** How much of a blob a request reads: all of it, the rest from a byte on (a pull that resumes), or a part (lazy pulling). */
export type Extent = 'all' | 'rest' | 'part'

export function extentOf(range: RangeRequest): Extent {
  if (range.type === 'whole') return 'all'
  if (range.type === 'suffix' || range.end !== undefined) return 'part'
  // containerd 2.1.0 asks like this for all.
  return range.start === 0 ? 'all' : 'rest'
}

/** The span that a request means in a blob of `size` bytes; undefined if it is not satisfiable (416). */
export function resolveRange(range: RangeRequest, size: number): ByteSpan | undefined {
  switch (range.type) {
    case 'whole':
      return { start: 0, end: size }
    case 'suffix':
      return range.length === 0 || size === 0 ? undefined : { start: Math.max(0, size - range.length), end: size }
    case 'from':
      // Nothing has no first byte, but containerd 2.1.0 asks for all that it wants from byte 0 on.
      if (size === 0 && range.start === 0) return { start: 0, end: 0 }
      if (range.start >= size) return undefined
      return { start: range.start, end: range.end === undefined ? size : Math.min(range.end + 1, size) }
  }
}

/** `bytes 0-99/200`, read strictly: undefined if anything is missing or contradicts itself. */
export function parseContentRange(header: string | undefined): (ByteSpan & { size: number }) | undefined {
  const match = header === undefined ? null : /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header)
  if (match === null) return undefined
  const [start, last, size] = [toOffset(match[1] ?? ''), toOffset(match[2] ?? ''), toOffset(match[3] ?? '')]
  return start <= last && last < size ? { start, end: last + 1, size } : undefined
}

/** Digits that exceed what a double holds exactly are past the end of any blob. */
function toOffset(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER)
}
