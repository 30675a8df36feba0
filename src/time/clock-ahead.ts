import { second } from './units.ts'

/**
 * Milliseconds by which the clock of a server is ahead of this machine's, by the `Date` header of an answer, which has whole seconds. `began` and `ended` are
 * milliseconds since the epoch, before the request and after the answer; an offset that fits between them is 0. undefined without a valid header.
 */
export function clockAheadOf(date: string | undefined, began: number, ended: number): number | undefined {
  const theirs = Date.parse(date ?? '')
  if (Number.isNaN(theirs)) return undefined
  if (theirs + second < began) return theirs + second - began
  return theirs > ended ? theirs - ended : 0
}
