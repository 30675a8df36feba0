// Runs what has to do with containerd against every version of it that can be had: `npm run test:matrix [-- file or folder…]`. Its last line
// is `N passed, N failed, N skipped`; a version that cannot be had counts as one that is skipped.
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

import { chosenVariant, findContainerd } from './support/containerd.ts'
import { execute } from './support/netns/commands.ts'

const VARIANTS = ['1.6', '1.7', '2.1', '2.1+parallel'] as const
const TESTS = [
  'test/store/containerd',
  'test/daemon/access-containerd.test.ts',
  'test/daemon/access-random.test.ts',
  'test/daemon/private-containerd.test.ts',
  'test/doctor',
  'test/runtimes/containerd/pulls.e2e.test.ts',
  'test/e2e/clients.e2e.test.ts',
  'test/e2e/explicit.e2e.test.ts',
  'test/e2e/growing.e2e.test.ts',
  'test/e2e/odd-registry.e2e.test.ts',
  'test/e2e/parallel-fetch.e2e.test.ts',
  'test/e2e/private.e2e.test.ts',
  'test/e2e/pull.e2e.test.ts',
  'test/e2e/real-registry.e2e.test.ts',
  'test/e2e/rollout.e2e.test.ts',
  'test/e2e/warm.e2e.test.ts',
]
/** It asks for its version by name. */
const ONCE = ['test/e2e/parallel-fetch.e2e.test.ts']
/** They count each byte, and each chunk costs some more: the test above counts those. */
const BYTE_BY_BYTE = ['test/e2e/rollout.e2e.test.ts', 'test/e2e/warm.e2e.test.ts']

interface Outcome {
  readonly variant: string
  readonly what: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const root = resolve(import.meta.dirname, '..')
const filters = process.argv.slice(2)
const outcomes: Outcome[] = []
for (const variant of VARIANTS) outcomes.push(await runVariant(variant))

for (const { variant, what, passed, failed, skipped } of outcomes)
  console.log(`containerd ${variant} (${what}): ${passed} passed, ${failed} failed, ${skipped} skipped`)
const sum = (key: 'passed' | 'failed' | 'skipped') => outcomes.reduce((total, outcome) => total + outcome[key], 0)
console.log(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') === 0 && sum('passed') > 0 ? 0 : 1

async function runVariant(variant: (typeof VARIANTS)[number]): Promise<Outcome> {
  const found = await findContainerd(chosenVariant(variant))
  if ('skip' in found) return { variant, what: found.skip, passed: 0, failed: 0, skipped: 1 }
  const { stdout } = await execute(join(found.binDir, 'containerd'), ['--version'])
  const what = stdout.trim().split(' ')[2] ?? stdout.trim()
  console.log(`\n== containerd ${variant}: ${what} ==`)
  const left = [...(variant === '2.1' ? [] : ONCE), ...(variant === '2.1+parallel' ? BYTE_BY_BYTE : [])]
  const tests = filters.length > 0 ? filters : TESTS.filter((test) => !left.includes(test))
  const child = spawn(process.execPath, [join(root, 'test/run.ts'), ...tests], {
    cwd: root,
    env: { ...process.env, NABO_TEST_CONTAINERD: variant },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line)
    last = line
  }
  // A run that ended without its counts has failed as a whole.
  const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(last)
  const [passed = 0, failed = 1, skipped = 0] = counts?.slice(1).map(Number) ?? []
  return { variant, what, passed, failed, skipped }
}
