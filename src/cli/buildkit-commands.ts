import type { Command, Option } from 'commander'

import { planConfigureBuildkit, planRestoreBuildkit } from '../runtimes/buildkit/buildkit-plans.ts'
import { runPlan } from './run-plan.ts'
import { clientPathFlag, dryRunFlag, mirrorOriginFlag, namedRegistriesFlag } from './runtime-flags.ts'

interface Values {
  readonly configFile: string
  readonly mirrorUrl: URL
  readonly registries: readonly string[]
  readonly dryRun?: boolean
}

const CONFIG_FILE = '/etc/buildkit/buildkitd.toml'
const RESTART = 'buildkitd reads it when it starts: systemctl restart buildkit'

/** Adds `nabo configure buildkit`. */
export function addConfigureBuildkit(configure: Command): void {
  configure
    .command('buildkit')
    .description("put Nabo in front of BuildKit's mirrors")
    .allowExcessArguments(false)
    .addOption(configFileFlag())
    .addOption(mirrorOriginFlag())
    .addOption(namedRegistriesFlag('BuildKit'))
    .addOption(dryRunFlag())
    .action(async ({ configFile, mirrorUrl, registries, dryRun = false }: Values) => {
      const settings = { mirror: mirrorUrl.host, plainHttp: mirrorUrl.protocol === 'http:', registries }
      process.exitCode = await runPlan({
        path: configFile,
        dryRun,
        mirrorUrl,
        make: () => planConfigureBuildkit(configFile, settings),
        nothing: `${configFile}: unchanged`,
        after: RESTART,
      })
    })
}

/** Adds `nabo restore buildkit`. */
export function addRestoreBuildkit(restore: Command): void {
  restore
    .command('buildkit')
    .description("take Nabo out of BuildKit's mirrors")
    .allowExcessArguments(false)
    .addOption(configFileFlag())
    .addOption(dryRunFlag())
    .action(async ({ configFile, dryRun = false }: Values) => {
      process.exitCode = await runPlan({
        path: configFile,
        dryRun,
        make: () => planRestoreBuildkit(configFile),
        nothing: `nothing of Nabo is in ${configFile}`,
        after: RESTART,
      })
    })
}

function configFileFlag(): Option {
  return clientPathFlag('buildkit', '--config-file <path>', "BuildKit's buildkitd.toml", CONFIG_FILE)
}
