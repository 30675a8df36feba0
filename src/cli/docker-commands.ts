import type { Command, Option } from 'commander'

import { planConfigureDocker, planRestoreDocker } from '../runtimes/docker/docker-plans.ts'
import { runPlan } from './run-plan.ts'
import { clientPathFlag, dryRunFlag, mirrorOriginFlag } from './runtime-flags.ts'

interface Values {
  readonly configFile: string
  readonly mirrorUrl: URL
  readonly dryRun?: boolean
}

const CONFIG_FILE = '/etc/docker/daemon.json'
const RELOAD = 'dockerd reads it when it is told to: systemctl reload docker'

/** Adds `nabo configure docker`. */
export function addConfigureDocker(configure: Command): void {
  configure
    .command('docker')
    .description("put Nabo in front of dockerd's registry-mirrors, which it asks for docker.io only")
    .allowExcessArguments(false)
    .addOption(configFileFlag())
    .addOption(mirrorOriginFlag())
    .addOption(dryRunFlag())
    .action(async ({ configFile, mirrorUrl, dryRun = false }: Values) => {
      process.exitCode = await runPlan({
        path: configFile,
        dryRun,
        mirrorUrl,
        make: () => planConfigureDocker({ configFile, mirrorUrl: mirrorUrl.origin }),
        nothing: `${configFile}: unchanged`,
        after: RELOAD,
      })
    })
}

/** Adds `nabo restore docker`. */
export function addRestoreDocker(restore: Command): void {
  restore
    .command('docker')
    .description("take Nabo out of dockerd's registry-mirrors")
    .allowExcessArguments(false)
    .addOption(configFileFlag())
    .addOption(dryRunFlag())
    .action(async ({ configFile, dryRun = false }: Values) => {
      process.exitCode = await runPlan({
        path: configFile,
        dryRun,
        make: () => planRestoreDocker({ configFile }),
        nothing: `nothing of Nabo is in ${configFile}`,
        after: RELOAD,
      })
    })
}

function configFileFlag(): Option {
  return clientPathFlag('docker', '--config-file <path>', "dockerd's daemon.json", CONFIG_FILE)
}
