import type { Command, Option } from 'commander'

import { looksLikeRegistry } from '../oci/reference.ts'
import { planConfigurePodman, planRestorePodman } from '../runtimes/podman/podman-plans.ts'
import { runPlan } from './run-plan.ts'
import { clientPathFlag, dryRunFlag, mirrorOriginFlag, namedRegistriesFlag } from './runtime-flags.ts'

interface Values {
  readonly configDir: string
  readonly mirrorUrl: URL
  readonly registries: readonly string[]
  readonly dryRun?: boolean
}

const RELOAD = 'Podman, Buildah and Skopeo read it at every pull; CRI-O when it is told to: systemctl reload crio'

/** Adds `nabo configure podman`. */
export function addConfigurePodman(configure: Command): void {
  configure
    .command('podman')
    .description('have Podman, Buildah, Skopeo and CRI-O ask Nabo first, in registries.conf and registries.conf.d')
    .allowExcessArguments(false)
    .addOption(configDirFlag())
    .addOption(mirrorOriginFlag())
    .addOption(namedRegistriesFlag('registries.conf'))
    .addOption(dryRunFlag())
    .action(async ({ configDir, mirrorUrl, registries, dryRun = false }: Values, command: Command) => {
      if (!looksLikeRegistry(mirrorUrl.host))
        command.error(
          "error: the host in --mirror-url needs a dot or a port: Podman takes it for a part of the image's name",
        )
      const plainHttp = mirrorUrl.protocol === 'http:'
      process.exitCode = await runPlan({
        path: configDir,
        dryRun,
        mirrorUrl,
        make: () => planConfigurePodman({ configDir, mirror: mirrorUrl.host, plainHttp, registries }),
        nothing: `${configDir}: unchanged`,
        after: RELOAD,
      })
    })
}

/** Adds `nabo restore podman`. */
export function addRestorePodman(restore: Command): void {
  restore
    .command('podman')
    .description('take Nabo out of registries.conf and registries.conf.d')
    .allowExcessArguments(false)
    .addOption(configDirFlag())
    .addOption(dryRunFlag())
    .action(async ({ configDir, dryRun = false }: Values) => {
      process.exitCode = await runPlan({
        path: configDir,
        dryRun,
        make: () => planRestorePodman({ configDir }),
        nothing: `nothing of Nabo is in ${configDir}`,
        after: RELOAD,
      })
    })
}

function configDirFlag(): Option {
  return clientPathFlag('podman', '--config-dir <path>', 'the directory of registries.conf', '/etc/containers')
}
