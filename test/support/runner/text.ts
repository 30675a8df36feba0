import type { FileReport } from './run-file.ts'

/** What is printed when a file has ended: one line, and its failures in full. */
export function fileLine(report: FileReport): string {
  const { file, passed, failures, skipped, output } = report
  const counts = [`${passed} passed`]
  if (failures.length > 0) counts.push(`${failures.length} FAILED`)
  if (skipped.length > 0) counts.push(`${skipped.length} skipped`)
  const lines = [`${failures.length > 0 ? 'not ok' : 'ok    '} ${file}: ${counts.join(', ')} (${seconds(report)})`]
  for (const { name, text } of failures) lines.push(indent(`✖ ${name}`, 2), indent(text, 4))
  if (failures.length > 0 && output.length > 0) lines.push('  output:', indent(output.join('\n'), 4))
  return `${lines.join('\n')}\n`
}

/** What is printed in the end: times, what was skipped and why, what failed, the counts. */
export function summary(
  reports: readonly FileReport[],
  { interrupted, failedChecks }: { interrupted: boolean; failedChecks: readonly string[] },
): string {
  const lines = ['', 'Time of each suite:']
  for (const report of [...reports].sort((a, b) => b.durationMs - a.durationMs)) {
    lines.push(`${seconds(report).padStart(9)}  ${report.file}`)
  }
  const skipped = reports.flatMap(({ file, skipped }) => skipped.map((skip) => ({ file, ...skip })))
  if (skipped.length > 0) lines.push('', 'Skipped:')
  for (const { file, name, reason } of skipped) lines.push(`  ${file}: ${name}${reason === '' ? '' : ` (${reason})`}`)
  const failed = reports.flatMap(({ file, failures }) => failures.map(({ name }) => ({ file, name })))
  const failures = failed.length + failedChecks.length
  if (failures > 0) lines.push('', 'Failed:')
  for (const check of failedChecks) lines.push(`  the check ${check} (see above)`)
  for (const { file, name } of failed) lines.push(`  ${file}: ${name}`)
  if (interrupted) lines.push('', 'Interrupted: not all tests ran.')
  else if (reports.length === 0) lines.push('', 'No test file matches.')
  const passed = reports.reduce((sum, report) => sum + report.passed, 0)
  lines.push('', `${passed} passed, ${failures} failed, ${skipped.length} skipped`)
  return `${lines.join('\n')}\n`
}

function seconds(report: FileReport): string {
  return `${(report.durationMs / 1000).toFixed(1)} s`
}

function indent(text: string, width: number): string {
  return text.replaceAll(/^(?=.)/gm, ' '.repeat(width))
}
