import { givenFlags, parseGivenFlags } from '../config/given-flags.ts'
import { onAdvertisedHosts } from '../daemon/advertised-hosts.ts'
import { nodeSources } from '../daemon/node-sources.ts'
import { configPathCheck } from '../doctor/checks/config-path.ts'
import { lookAt } from '../doctor/node.ts'
import { runChecks } from '../doctor/run-checks.ts'
import { second } from '../time/units.ts'

const TIMEOUT = 5 * second
const UNASKED =
  'containerd reads these files at every pull, without a restart, if its config_path names this directory and no other: `nabo doctor` tells.'

/**
 * What containerd on this node does with the files of a directory of hosts, in lines: whether it reads them, and if not, which line to add.
 * containerd and its configuration are where `serve` looks for them.
 */
export async function configPathNotice(configDir: string): Promise<readonly string[]> {
  const flags = parseGivenFlags({ ...givenFlags([]), '--config-dir': [configDir] })
  const config = onAdvertisedHosts(flags, [])
  const nowhere = () => Promise.reject(new Error('nothing else is looked at'))
  const node = lookAt({
    settings: config,
    environment: process.env,
    sources: {
      ...nodeSources(config),
      daemon: async () => ({ state: 'absent' }),
      ...{ upstreams: nowhere, certificates: nowhere, quotas: nowhere, neighbours: nowhere, resolve: nowhere },
    },
    signal: AbortSignal.timeout(TIMEOUT),
  })
  const [finding] = await runChecks([configPathCheck], node, { timeout: TIMEOUT, signal: AbortSignal.timeout(TIMEOUT) })
  switch (finding?.level) {
    case 'ok':
      return ['containerd reads these files at every pull, without a restart.']
    case 'error':
    case 'warning':
      return [`But ${finding.says}.`, ...(finding.fix === undefined ? [] : [`  fix: ${finding.fix}`])]
    default:
      return [UNASKED]
  }
}
