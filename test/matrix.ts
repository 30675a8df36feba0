// Runs what has to do with containerd against every version of it that can be had: `npm run test:matrix [-- file or folder…]`. Its last line
// is `N passed, N failed, N skipped`; a version that cannot be had counts as one that is skipped.
import { join } from 'node:path'

import { chosenVariant, findContainerd } from './support/containerd.ts'
import { execute } from './support/netns/commands.ts'
import { type Outcome, runVariant, tellOutcomes } from './support/runner/run-variants.ts'

const VARIANTS = ['1.6', '1.7', '2.1', '2.1+parallel', '2.2', '2.3', '2.4'] as const
const TESTS = [
  'test/store/containerd',
  'test/daemon/access-containerd.test.ts',
  'test/daemon/access-random.test.ts',
  'test/daemon/directory-list.test.ts',
  'test/daemon/lost-settings.test.ts',
  'test/daemon/private-containerd.test.ts',
  'test/daemon/pull-errors.test.ts',
  'test/doctor',
  'test/runtimes/containerd/dial-timeout.e2e.test.ts',
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

const filters = process.argv.slice(2)
const outcomes: Outcome[] = []
for (const version of VARIANTS) outcomes.push(await runVersion(version))
tellOutcomes(outcomes)

async function runVersion(version: (typeof VARIANTS)[number]): Promise<Outcome> {
  const variant = `containerd ${version}`
  const found = await findContainerd(chosenVariant(version))
  if ('skip' in found) return { variant, what: found.skip, passed: 0, failed: 0, skipped: 1 }
  const { stdout } = await execute(join(found.binDir, 'containerd'), ['--version'])
  const what = stdout.trim().split(' ')[2] ?? stdout.trim()
  const left = [...(version === '2.1' ? [] : ONCE), ...(version === '2.1+parallel' ? BYTE_BY_BYTE : [])]
  const args = filters.length > 0 ? filters : TESTS.filter((test) => !left.includes(test))
  return runVariant({ variant, what, args, env: { NABO_TEST_CONTAINERD: version } })
}
