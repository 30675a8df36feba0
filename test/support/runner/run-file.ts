import { resolve } from 'node:path'
import { finished } from 'node:stream/promises'
import { type EventData, run } from 'node:test'
import { inspect } from 'node:util'

export interface FileReport {
  /** Relative to the root of the repository. */
  readonly file: string
  readonly passed: number
  readonly failures: readonly Failure[]
  readonly skipped: readonly Skip[]
  readonly durationMs: number
  /** What its process wrote, the last 100 lines; tests are meant to be silent. */
  readonly output: readonly string[]
}

export interface Failure {
  readonly name: string
  /** The error with its stack and its cause. */
  readonly text: string
}

export interface Skip {
  readonly name: string
  readonly reason: string
}

const MAX_OUTPUT_LINES = 100

/** Runs one file in a process of its own. It fails as a whole if it has not ended in time, be it for a handle left open. */
export async function runFile(
  root: string,
  file: string,
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<FileReport> {
  const start = performance.now()
  const tally = new Tally(resolve(root, file))
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs)
  try {
    const signal = AbortSignal.any([deadline.signal, options.signal])
    const stream = run({ files: [resolve(root, file)], cwd: root, isolation: 'process', concurrency: 1, signal })
    stream.on('test:pass', (data) => tally.pass(data))
    stream.on('test:fail', (data) => tally.fail(data))
    stream.on('test:stdout', ({ message }) => tally.write(message))
    stream.on('test:stderr', ({ message }) => tally.write(message))
    await finished(stream.resume())
  } finally {
    clearTimeout(timer)
  }
  if (deadline.signal.aborted) {
    tally.failFile(`had not ended after ${options.timeoutMs / 1000} s`)
  }
  const { passed, failures, skipped, output } = tally
  return { file, passed, failures, skipped, output, durationMs: performance.now() - start }
}

class Tally {
  passed = 0
  readonly failures: Failure[] = []
  readonly skipped: Skip[] = []
  readonly output: string[] = []
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  pass(data: EventData.TestPass): void {
    const { skip, todo } = data
    if (skip !== undefined || todo !== undefined) {
      const reason = [skip, todo].find((text) => typeof text === 'string') ?? ''
      this.skipped.push({ name: data.name, reason })
    } else if (data.details.type !== 'suite' && data.name !== this.#file) {
      // A file without any test counts as one by its own name.
      this.passed += 1
    }
  }

  fail(data: EventData.TestFail): void {
    const { error } = data.details
    if ('failureType' in error && error.failureType === 'subtestsFailed') return
    this.failures.push({ name: data.name, text: inspect(error.cause ?? error, { depth: 6 }) })
  }

  /** Says better than the runner why the file as a whole failed. */
  failFile(text: string): void {
    const other = this.failures.findIndex(({ name }) => name === this.#file)
    this.failures.splice(other < 0 ? this.failures.length : other, 1, { name: 'the whole file', text })
  }

  write(text: string): void {
    this.output.push(...text.trimEnd().split('\n'))
    this.output.splice(0, this.output.length - MAX_OUTPUT_LINES)
  }
}
