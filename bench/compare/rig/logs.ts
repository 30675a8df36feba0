import type { MirrorProcess } from '../contenders/contender.ts'

/** A little less than what a results.json takes. */
const CHARS = 60 * 1024

/**
 * The ends of what mirrors wrote, as lines. Of those that ended by themselves if there are any; otherwise of all, the same number of
 * characters each, so that none hides another.
 */
export function logsOf(
  processes: readonly Pick<MirrorProcess, 'node' | 'log' | 'ended'>[],
  killed: ReadonlySet<string>,
  chars = CHARS,
): string[] {
  const dead = processes.filter(({ node, ended }) => !killed.has(node) && ended() !== undefined)
  const chosen = dead.length > 0 ? dead : processes
  return chosen.flatMap(({ node, log }) => tailOf(node, log(), Math.floor(chars / chosen.length)))
}

function tailOf(node: string, lines: readonly string[], chars: number): string[] {
  const tail: string[] = []
  let left = chars
  for (const line of lines.toReversed()) {
    const named = `${node}: ${line}`
    // Counted with its newline. Of a line that is too long by itself the begin says more than nothing.
    if (named.length >= left && tail.length > 0) break
    tail.push(named.slice(0, left))
    left -= named.length + 1
    if (left <= 0) break
  }
  return tail.reverse()
}
