import { readFileSync } from 'node:fs'

/** Time of all cores together, in ticks, since the machine started. */
export interface CoreTime {
  readonly busy: number
  readonly total: number
}

/** user, nice, system, idle, iowait, irq, softirq, steal. What guests take comes after, and is in user already. */
const FIELDS = 8
const IDLE = 3
const IOWAIT = 4

/** Read at once, since it must be of the very moment. */
export function coreTimeNow(): CoreTime {
  return parseCoreTime(readFileSync('/proc/stat', 'utf8'))
}

/** Reads `/proc/stat`. Time that was stolen by other machines counts as busy: it could not be had. */
export function parseCoreTime(text: string): CoreTime {
  const fields = /^cpu +([\d ]+)$/m.exec(text)?.[1]?.split(' ').map(Number).slice(0, FIELDS)
  if (fields === undefined) throw new Error('/proc/stat says nothing of the cores')
  const total = fields.reduce((sum, ticks) => sum + ticks, 0)
  return { busy: total - (fields[IDLE] ?? 0) - (fields[IOWAIT] ?? 0), total }
}

export function coreTimeBetween(from: CoreTime, to: CoreTime): CoreTime {
  return { busy: to.busy - from.busy, total: to.total - from.total }
}

/** 0 to 1; undefined where the time was too short to say. */
export function shareOf({ busy, total }: CoreTime): number | undefined {
  if (total <= 0) return undefined
  return Math.min(1, Math.max(0, Math.round((busy / total) * 1000) / 1000))
}
