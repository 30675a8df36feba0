import type { ByteSpan } from '../../../oci/range.ts'
import { abortable } from '../../../time/deadline.ts'
import { Silence } from '../../../time/silence.ts'
import { StalledError } from '../resuming-stream.ts'
import type { Holder, HolderAnswer } from './holders.ts'

export interface ReadSpanOptions {
  /** The longest silence, the one before the header included, in milliseconds. Time during which nobody asks does not count. */
  readonly stall: number
  readonly signal: AbortSignal
  /** If it is open already. */
  readonly opened?: HolderAnswer | undefined
}

/** Exactly the bytes of a span as one holder sends them. Throws if fewer or more come, StalledError when it falls silent. */
export async function* readSpan(holder: Holder, span: ByteSpan, options: ReadSpanOptions): AsyncGenerator<Uint8Array> {
  const controller = new AbortController()
  let answer = options.opened
  let waiting = true
  const end = (reason: unknown) => {
    controller.abort(reason)
    answer?.cancel()
  }
  const onAbort = () => end(options.signal.reason)
  const silence = new Silence(options.stall, () => {
    if (waiting) end(new StalledError(`${holder.name} sent nothing for ${options.stall} ms`))
  })
  options.signal.addEventListener('abort', onAbort, { once: true })
  try {
    options.signal.throwIfAborted()
    answer ??= await opened(holder, span, controller.signal)
    let position = span.start
    for await (const chunk of answer.body) {
      position += chunk.length
      if (position > span.end) throw new Error(`${holder.name} sent more than it was asked for`)
      waiting = false
      yield chunk
      waiting = true
      silence.heard()
    }
    if (position < span.end) throw new Error(`${holder.name} ended at byte ${position} of ${span.end}`)
  } catch (error) {
    controller.signal.throwIfAborted()
    throw error
  } finally {
    silence.stop()
    options.signal.removeEventListener('abort', onAbort)
    answer?.cancel()
  }
}

/** What is opened too late has nobody who would close it. */
function opened(holder: Holder, span: ByteSpan, signal: AbortSignal): Promise<HolderAnswer> {
  const opening = holder.open(span.start, span.end, { signal })
  opening.then((late) => signal.aborted && late.cancel()).catch(() => {})
  return abortable(opening, signal)
}
