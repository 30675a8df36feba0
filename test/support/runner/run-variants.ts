import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

/** How the tests went with one variant of something that they run against. */
export interface Outcome {
  /** `containerd 1.6`. */
  readonly variant: string
  /** Its exact version, or why it cannot be had. */
  readonly what: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const root = resolve(import.meta.dirname, '../../..')

/** Runs test/run.ts with these arguments, and shows what it prints. A run that ended without its counts has failed as a whole. */
export async function runVariant(options: {
  readonly variant: string
  readonly what: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
}): Promise<Outcome> {
  const { variant, what, args, env } = options
  console.log(`\n== ${variant}: ${what} ==`)
  const child = spawn(process.execPath, [join(root, 'test/run.ts'), ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line)
    last = line
  }
  const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(last)
  const [passed = 0, failed = 1, skipped = 0] = counts?.slice(1).map(Number) ?? []
  return { variant, what, passed, failed, skipped }
}

/** Prints a line for each variant, and the counts of all as the last line. The exit code is 0 if none failed and some passed. */
export function tellOutcomes(outcomes: readonly Outcome[]): void {
  for (const { variant, what, passed, failed, skipped } of outcomes)
    console.log(`${variant} (${what}): ${passed} passed, ${failed} failed, ${skipped} skipped`)
  const sum = (key: 'passed' | 'failed' | 'skipped') => outcomes.reduce((total, outcome) => total + outcome[key], 0)
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
  process.exitCode = sum('failed') === 0 && sum('passed') > 0 ? 0 : 1
}
