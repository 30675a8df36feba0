import type { Finding, Level } from './check.ts'
import { listed } from './listed.ts'

const COLOURS: Readonly<Record<Level, number>> = { ok: 32, warning: 33, error: 31, unknown: 2 }

/** One line a finding, its fix below, and what it all means. `print` makes text from outside safe for a terminal. */
export function renderFindings(
  findings: readonly Finding[],
  options: { colours: boolean; print: (text: string) => string },
): string {
  const widths = {
    level: Math.max(0, ...findings.map(({ level }) => level.length)),
    title: Math.max(0, ...findings.map(({ title }) => title.length)),
  }
  const indent = ' '.repeat(widths.level + widths.title + 4)
  const lines = findings.flatMap(({ level, title, says, fix, seenBy }) => {
    const mark = level.padEnd(widths.level)
    const shown = options.colours ? `\u001B[${COLOURS[level]}m${mark}\u001B[0m` : mark
    const first = `${shown}  ${options.print(title.padEnd(widths.title))}  ${options.print(says)}`
    const seen = seenBy === undefined ? [] : [`${indent}seen by: ${options.print(listed(seenBy))}`]
    return [first, ...seen, ...(fix === undefined ? [] : [`${indent}fix: ${options.print(fix)}`])]
  })
  return `${[...lines, '', summary(findings)].join('\n')}\n`
}

function summary(findings: readonly Finding[]): string {
  const count = (wanted: Level) => findings.filter(({ level }) => level === wanted).length
  const [errors, warnings, unknowns] = [count('error'), count('warning'), count('unknown')]
  const others = [
    ...(warnings > 0 ? [some(warnings, 'warning')] : []),
    ...(unknowns > 0 ? [`${some(unknowns, 'thing')} that could not be checked`] : []),
  ]
  const besides = others.length === 0 ? '' : `, ${others.join(', ')}`
  if (errors > 0) return `${some(errors, 'error')}${besides}: Nabo cannot do its work on this node.`
  if (warnings > 0) return `${others.join(', ')}: Nabo may do only a part of its work on this node.`
  return unknowns > 0 ? `Nothing wrong was found; ${others.join(', ')}.` : 'All is right.'
}

function some(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
