import { LRUCache } from 'lru-cache'

import { atMost } from '../async/at-most.ts'
import { minute } from '../time/units.ts'
import type { Log } from './log.ts'

/** Between two warnings of one kind: an attack may cause thousands a second, for hours. */
const PAUSE = 1 * minute
/** Cap on remembered kinds: a kind may be the name of a host. */
const MAX_KINDS = 1000

/** Logs each kind of warning at most once a minute. */
export class PacedWarnings<Kind extends string> {
  readonly #log: Pick<Log, 'warn'>
  readonly #clock: () => number
  readonly #warnedAt = new LRUCache<Kind, number>(atMost(MAX_KINDS))

  /** `clock`: in milliseconds, monotonic. */
  constructor(log: Pick<Log, 'warn'>, clock: () => number = () => performance.now()) {
    this.#log = log
    this.#clock = clock
  }

  /** `fields` is called only if the warning is logged. */
  warn(kind: Kind, message: string, fields: () => object = () => ({})): void {
    const now = this.#clock()
    if (now - (this.#warnedAt.get(kind) ?? -Infinity) < PAUSE) return
    this.#warnedAt.set(kind, now)
    this.#log.warn(fields(), message)
  }
}
