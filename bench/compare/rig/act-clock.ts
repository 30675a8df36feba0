import { type CoreTime, coreTimeBetween, coreTimeNow, shareOf } from '../measure/busy.ts'
import type { Run } from '../results.ts'

/** A moment of an act, and what of the time until then was a pause. */
export interface Moment {
  readonly ms: number
  readonly cores: CoreTime
  readonly pausedMs: number
  readonly pausedCores: CoreTime
}

/** The time of an act. Pauses are left out of it, and of how busy the machine was. */
export class ActClock {
  #pausedMs = 0
  #pausedCores: CoreTime = { busy: 0, total: 0 }
  readonly #start = this.now()

  now(): Moment {
    return {
      ms: performance.now(),
      cores: coreTimeNow(),
      pausedMs: this.#pausedMs,
      pausedCores: this.#pausedCores,
    }
  }

  /** From the start, pauses included. */
  seconds(moment: Moment = this.now()): number {
    return (moment.ms - this.#start.ms) / 1000
  }

  /** All from that moment until now was a pause. */
  pausedSince(moment: Moment): void {
    const now = this.now()
    const { busy, total } = coreTimeBetween(moment.cores, now.cores)
    this.#pausedMs += now.ms - moment.ms
    this.#pausedCores = { busy: this.#pausedCores.busy + busy, total: this.#pausedCores.total + total }
  }

  /** Of the act, as it was until its last pull ended; what came later is no part of it. */
  until(end: Moment): Pick<Run, 'wallSeconds' | 'pausedSeconds' | 'busy'> {
    const pausedSeconds = end.pausedMs / 1000
    const cores = coreTimeBetween(end.pausedCores, coreTimeBetween(this.#start.cores, end.cores))
    const busy = shareOf(cores)
    return {
      wallSeconds: Math.max(0, this.seconds(end) - pausedSeconds),
      pausedSeconds,
      ...(busy === undefined ? {} : { busy }),
    }
  }
}
