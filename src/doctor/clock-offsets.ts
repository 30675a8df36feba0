import { minute, second } from '../time/units.ts'

/** Clocks that differ by more, in milliseconds, are wrong: time services leave less. */
const NOTABLE = minute

export function isNotableOffset(milliseconds: number): boolean {
  return Math.abs(milliseconds) > NOTABLE
}

/**
 * How far ahead of this node's clock the other clocks are, by their median, in milliseconds; of two middle values the one nearer to zero, since half of the
 * clocks are no majority. 0 if there are none.
 */
export function typicalOffset(offsets: readonly number[]): number {
  const sorted = offsets.toSorted((a, b) => a - b)
  const [low = 0, high = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return Math.abs(low) < Math.abs(high) ? low : high
}

/** `20 minutes`, without the sign. */
export function showOffset(milliseconds: number): string {
  const size = Math.abs(milliseconds)
  return size < 2 * minute ? `${Math.round(size / second)} seconds` : `${Math.round(size / minute)} minutes`
}
