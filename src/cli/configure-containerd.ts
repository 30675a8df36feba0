import type { Command } from 'commander'

import { readMirrorToken } from '../config/mirror-token.ts'
import { parseDuration } from '../config/parse.ts'
import { configureContainerd } from '../runtimes/containerd/configure-containerd.ts'
import { configDirFlag, printReports } from './containerd-files.ts'
import { EXIT } from './exit.ts'
import { printable } from './printable.ts'
import { isFitForMirror, waitForMirror } from './mirror-check.ts'
import { dryRunFlag, flag, mirrorUrlFlag, oneOf, parseRegistries } from './runtime-flags.ts'

interface Values {
  readonly configDir: string
  readonly mirrorUrl: string
  readonly registries: readonly string[]
  readonly mode: 'prepend' | 'replace'
  readonly resolveTags: boolean
  readonly mirrorTokenFile?: string
  readonly wait?: number
  readonly dryRun?: boolean
}

/** Adds `nabo configure containerd`. */
export function addConfigureContainerd(configure: Command): void {
  configure
    .command('containerd')
    .description("write Nabo into containerd's hosts.toml files, before all other mirrors")
    .allowExcessArguments(false)
    .addOption(configDirFlag())
    .addOption(mirrorUrlFlag())
    .addOption(
      flag(
        '--registries <list>',
        'for which registries; all: those that have a directory, and _default for the others',
        parseRegistries,
        'docker.io',
      ),
    )
    .addOption(
      flag(
        '--mode <mode>',
        'prepend keeps other mirrors behind Nabo, replace takes them out of use (restore brings them back)',
        oneOf('prepend', 'replace'),
        'prepend',
      ),
    )
    .addOption(
      flag(
        '--resolve-tags [boolean]',
        'whether Nabo is asked what a tag names, or only for content by digest',
        (text) => oneOf('true', 'false')(text) === 'true',
        'true',
      ).preset('true'),
    )
    .addOption(flag('--mirror-token-file <path>', 'the secret that `nabo serve --mirror-token-file` wants', String))
    .addOption(
      flag(
        '--wait <duration>',
        'first wait so long at most until Nabo listens, as for the hook of a pod',
        parseDuration,
      ),
    )
    .addOption(dryRunFlag())
    .action(async (values: Values) => {
      process.exitCode = await run(values)
    })
}

async function run(values: Values): Promise<number> {
  let token: string | undefined
  try {
    token = values.mirrorTokenFile === undefined ? undefined : await readMirrorToken(values.mirrorTokenFile)
  } catch (error) {
    process.stderr.write(`nabo: ${error instanceof Error ? error.message : String(error)}\n`)
    return EXIT.failed
  }
  const { mirrorUrl, mode, resolveTags, configDir, registries, wait, dryRun = false } = values
  const mirror = new URL(mirrorUrl)
  if (wait !== undefined && !(await waitForMirror(mirror, wait))) return EXIT.failed
  if (!(await isFitForMirror(mirror))) return EXIT.failed
  const settings = { mirrorUrl, mode, resolveTags, ...(token === undefined ? {} : { token }) }
  const reports = await configureContainerd({ configDir, registries, settings, dryRun })
  printReports(reports, { dryRun, secrets: token === undefined ? [] : [token] })
  if (reports.some(({ outcome }) => outcome !== 'left alone')) {
    // Imported here since it loads most of the daemon's code, which `--restore` and `--help` do not need.
    const { configPathNotice } = await import('./config-path-notice.ts')
    for (const line of await configPathNotice(configDir)) process.stdout.write(`${printable(line)}\n`)
  }
  return reports.some(({ outcome }) => outcome === 'left alone') ? EXIT.failed : EXIT.ok
}
