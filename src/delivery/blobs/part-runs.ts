import { type ByteSpan, tooMuch } from '../../oci/range.ts'

/** Spans that lie close together: one request to a source brings them all. */
export interface Run extends ByteSpan {
  /** In the order of the client's request. */
  readonly spans: readonly ByteSpan[]
  /** Neither do they overlap nor go back, so that they can be cut out of a stream. Else the run is read into memory; it is short then. */
  readonly isAscending: boolean
}

/** Parts of a blob and the requests that bring them. */
export interface PartsPlan {
  /** Of the whole blob, in bytes. */
  readonly size: number
  readonly spans: readonly ByteSpan[]
  readonly runs: readonly Run[]
}

/** What lies between two parts is fetched and dropped if it is no longer than this: a request to a registry costs a round trip or two. */
const MAX_GAP = 64 * 1024
/** Of a run that is kept in memory, in bytes: as much as a buffer of the mover. */
const MAX_KEPT = 256 * 1024
/** A client asks for 1,024 parts in one request, and each run costs the registry one. */
const MAX_RUNS = 64

/** Joins spans that follow one another in the request and lie close together. Throws OciError (400) if they need too many requests. */
export function planRuns({ size, spans }: { size: number; spans: readonly ByteSpan[] }): PartsPlan {
  const runs: Run[] = []
  for (const span of spans) {
    const last = runs.at(-1)
    const joined = last === undefined ? undefined : join(last, span)
    if (joined === undefined) runs.push({ ...span, spans: [span], isAscending: true })
    else runs[runs.length - 1] = joined
  }
  if (runs.length > MAX_RUNS) throw tooMuch(`more than ${MAX_RUNS} separate parts of what this node does not hold`)
  return { size, spans, runs }
}

/** The run with one more span; undefined if it needs a request of its own. */
function join(run: Run, span: ByteSpan): Run | undefined {
  if (span.start > run.end + MAX_GAP || run.start > span.end + MAX_GAP) return undefined
  const [start, end] = [Math.min(run.start, span.start), Math.max(run.end, span.end)]
  const isAscending = run.isAscending && span.start >= run.end
  if (!isAscending && end - start > MAX_KEPT) return undefined
  return { start, end, spans: [...run.spans, span], isAscending }
}
