// Runs the tests on a Kubernetes of their own: `npm run test:kubernetes [-- --quick] [-- --containerd=1.6] [-- file or folder…]`. `--quick` takes one
// containerd and leaves the long tests out. Its last line is `N passed, N failed, N skipped`. A machine on which no cluster can be made skips the tests,
// and says why in one line; a run of CI on a machine with Go, which can build the programs, has then failed.
import { chosenVariant, findContainerd } from '../support/containerd.ts'
import { buildImages, buildUnavailable } from '../support/image/nabo-image.ts'
import { namespacesUnavailable } from '../support/netns/namespaces.ts'
import { type Outcome, runVariant, tellOutcomes } from '../support/runner/run-variants.ts'
import { isOnPath } from '../support/runner/is-on-path.ts'
import { findPrograms } from './support/programs.ts'

const QUICK = process.argv.includes('--quick')
const chosen = process.argv.flatMap((argument) => /^--containerd=(.+)$/.exec(argument)?.[1] ?? [])
const versions = chosen.length > 0 ? chosen : QUICK ? ['2.1'] : ['1.6', '2.1']
const filters = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))

const mustRun = (process.env['CI'] ?? '') !== '' && (await isOnPath('go'))

const reason = await unavailable()
if (reason === undefined) {
  await using images = await buildImages()
  const outcomes: Outcome[] = []
  for (const version of versions) outcomes.push(await runVersion(version, images))
  tellOutcomes(outcomes)
} else {
  const [what, counts] = mustRun
    ? ['failed, since CI is set and Go is on PATH', '0 passed, 1 failed, 0 skipped']
    : ['skipped', '0 passed, 0 failed, 1 skipped']
  console.log(`${what}: ${reason}\n\n${counts}`)
  process.exitCode = mustRun ? 1 : 0
}

async function unavailable(): Promise<string | undefined> {
  const network = namespacesUnavailable()
  if (network !== undefined) return network
  const programs = await findPrograms()
  return 'skip' in programs ? programs.skip : buildUnavailable()
}

async function runVersion(version: string, images: { nabo: string; pause: string }): Promise<Outcome> {
  const variant = `Kubernetes with containerd ${version}`
  const found = await findContainerd(chosenVariant(version))
  if ('skip' in found)
    return { variant, what: found.skip, passed: 0, failed: mustRun ? 1 : 0, skipped: mustRun ? 0 : 1 }
  return runVariant({
    variant,
    what: found.binDir,
    args: ['--kubernetes', ...(QUICK ? [] : ['--long']), ...filters],
    env: { NABO_TEST_CONTAINERD: version, NABO_TEST_IMAGE: images.nabo, NABO_TEST_PAUSE_IMAGE: images.pause },
  })
}
