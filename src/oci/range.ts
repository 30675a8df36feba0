import { OciError } from './errors.ts'

/** One range of a `Range` header, before the size is known. Offsets are in bytes and inclusive. */
export type RangeRequest =
  | { readonly type: 'whole' }
  | { readonly type: 'from'; readonly start: number; readonly end?: number }
  | { readonly type: 'suffix'; readonly length: number }

/** The bytes `start` to `end`, `end` exclusive. */
export interface ByteSpan {
  readonly start: number
  readonly end: number
}

/** Several ranges of one `Range` header, in its order. */
export interface SeveralRanges {
  readonly type: 'several'
  readonly ranges: readonly RangeRequest[]
}

const WHOLE: RangeRequest = { type: 'whole' }
/** containers/storage asks for up to 1,024 parts of a zstd:chunked layer at once. */
export const MAX_RANGES = 1024

/**
 * Reads a `Range` header. A header in another unit, or a malformed one, asks for the whole content, as RFC 9110 14.2 allows.
 * Throws OciError for more than {@link MAX_RANGES} ranges: 400, at which clients ask for fewer.
 */
export function parseRanges(header: string | undefined): RangeRequest | SeveralRanges {
  const list = /^bytes=(.*)$/i.exec(header?.trim() ?? '')?.[1]
  if (list === undefined) return WHOLE
  // RFC 9110 5.6.1.2: a recipient ignores empty elements.
  const texts = list.split(',').flatMap((text) => text.trim() || [])
  if (texts.length > MAX_RANGES) throw tooMuch(`more than ${MAX_RANGES} ranges`)
  const ranges = texts.flatMap((text) => parseRangeSpec(text) ?? [])
  if (ranges.length < texts.length) return WHOLE
  return ranges.length > 1 ? { type: 'several', ranges } : (ranges[0] ?? WHOLE)
}

/** Like {@link parseRanges}, for answers of one part: several ranges ask for the whole. */
export function parseRange(header: string | undefined): RangeRequest {
  const range = parseRanges(header)
  return range.type === 'several' ? WHOLE : range
}

function parseRangeSpec(text: string): RangeRequest | undefined {
  const match = /^(\d*)-(\d*)$/.exec(text)
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { type: 'suffix', length: toOffset(last) }
  const start = toOffset(first)
  if (last === '') return { type: 'from', start }
  const end = toOffset(last)
  return end < start ? undefined : { type: 'from', start, end }
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

/** The span that a request means in a blob of `size` bytes. Throws OciError if it is not satisfiable (416). */
export function spanOf(range: RangeRequest, size: number): ByteSpan {
  const span = resolveRange(range, size)
  if (span === undefined) throw new OciError('RANGE_INVALID', { headers: { 'content-range': `bytes */${size}` } })
  return span
}

/**
 * The spans that several ranges mean in a blob of `size` bytes, in their order and without those that are not satisfiable. Throws OciError if none is
 * (416), or if they are longer than the blob together (400): no client sends ranges that overlap so much.
 */
export function resolveRanges({ ranges }: SeveralRanges, size: number): readonly ByteSpan[] {
  const spans = ranges.flatMap((range) => resolveRange(range, size) ?? []).filter(({ start, end }) => start < end)
  if (spans.length === 0) throw new OciError('RANGE_INVALID', { headers: { 'content-range': `bytes */${size}` } })
  if (spans.reduce((sum, { start, end }) => sum + end - start, 0) > size) throw tooMuch('more bytes than the blob has')
  return spans
}

/** 400 where RFC 9110 15.5.17 has 416: stargz-snapshotter and containers/image go over to fewer ranges at 400 alone. */
export function tooMuch(what: string): OciError {
  return new OciError('RANGE_INVALID', { status: 400, message: `Range asks for ${what}: ask for less at a time` })
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
