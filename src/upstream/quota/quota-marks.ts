import { LRUCache } from 'lru-cache'

import { atMost } from '../../async/at-most.ts'
import type { Log } from '../../telemetry/log.ts'
import type { QuotaBook } from './quota-book.ts'
import { type QuotaView, quotaKey } from './quota-view.ts'

/** Percent that are left. */
const MARKS = [50, 20, 5] as const
/** So much more must be left again before a mark is told of anew: some windows slide. */
const SLACK = 10
const MAX_KEPT = 1_000

/** Writes a log line when a quota that counts for this node passes 50, 20 and 5 % left, once each time. Returns its own end. */
export function logQuotaMarks(book: QuotaBook, log: Pick<Log, 'info' | 'warn'>): () => void {
  /** The lowest mark that was logged. */
  const told = new LRUCache<string, number>(atMost(MAX_KEPT))
  return book.onChange(({ view }) => {
    if (view.limit === 0 || !book.isOwn(view)) return
    const key = quotaKey(view)
    const left = (100 * view.remaining) / view.limit
    const last = told.get(key) ?? Infinity
    const mark = MARKS.findLast((mark) => left <= mark && mark < last)
    if (mark !== undefined) {
      told.set(key, mark)
      log[mark === MARKS[0] ? 'info' : 'warn'](fieldsOf(view), `${mark} % or less of a registry's quota is left`)
    } else if (left > last + SLACK) {
      const passed = MARKS.findLast((mark) => left <= mark)
      if (passed === undefined) told.delete(key)
      else told.set(key, passed)
    }
  })
}

function fieldsOf(view: QuotaView): object {
  const { registry, source, limit, remaining, windowSeconds, endsAt } = view
  return {
    registry,
    source,
    limit,
    remaining,
    windowSeconds,
    ...(endsAt === undefined ? {} : { endsAtLatest: new Date(endsAt).toISOString() }),
  }
}
