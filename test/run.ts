// Runs the tests: `node test/run.ts [--long] [file or folder…]`. Its last line is `N passed, N failed, N skipped`.
// `--kubernetes` runs those that need a whole cluster, and no others: test/kubernetes/run.ts builds what they need.
// `--failed-check=<name>` adds what failed before it was called, so that the last line and the exit code are of the whole.
import { globSync } from 'node:fs'
import { relative, resolve } from 'node:path'

import { type FileReport, runFile } from './support/runner/run-file.ts'
import { fileLine, summary } from './support/runner/text.ts'

const FILE_TIMEOUT_MS = 8 * 60_000
const LONG_FILE_TIMEOUT_MS = 60 * 60_000
/** The machines of CI have two cores. */
const CONCURRENCY = 2

const root = resolve(import.meta.dirname, '..')
const long = process.argv.includes('--long')
const kubernetes = process.argv.includes('--kubernetes')
const filters = process.argv
  .slice(2)
  .filter((argument) => !argument.startsWith('--'))
  .map((path) => relative(root, resolve(path)))
const failedChecks = process.argv.flatMap((argument) => /^--failed-check=(.+)$/.exec(argument)?.[1] ?? [])
const files = globSync('test/**/*.test.ts', { cwd: root })
  .filter((file) => file.startsWith('test/kubernetes/') === kubernetes)
  .filter((file) => long || !file.endsWith('.long.test.ts'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.startsWith(filter)))
  .sort()

// A Ctrl-C reaches the whole process group by itself; this is for a signal that is sent to this process alone.
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())

const reports: FileReport[] = []
// The longest first. Two clusters at once do well on two cores: much of their time is that of their links. What measures is alone.
const alone = files.filter((file) => kubernetes || file.endsWith('.long.test.ts'))
const slowFirst = (file: string) => (file.endsWith('.e2e.test.ts') ? 0 : 1)
await runAll(
  files.filter((file) => !alone.includes(file)).sort((a, b) => slowFirst(a) - slowFirst(b)),
  CONCURRENCY,
)
await runAll(alone, 1)
process.stdout.write(summary(reports, { interrupted: interrupted.signal.aborted, failedChecks }))
process.exitCode = succeeded() ? 0 : 1

async function runAll(queue: readonly string[], concurrency: number): Promise<void> {
  const rest = [...queue]
  const worker = async () => {
    for (let file = rest.shift(); file !== undefined && !interrupted.signal.aborted; file = rest.shift()) {
      const timeoutMs = file.endsWith('.long.test.ts') ? LONG_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS
      const report = await runFile(root, file, { timeoutMs, signal: interrupted.signal })
      reports.push(report)
      process.stdout.write(fileLine(report))
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

function succeeded(): boolean {
  const ran = reports.some((report) => report.passed > 0)
  return (
    ran &&
    failedChecks.length === 0 &&
    !interrupted.signal.aborted &&
    reports.every((report) => report.failures.length === 0)
  )
}
