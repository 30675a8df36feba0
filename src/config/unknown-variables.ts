import { Command } from 'commander'

import { addServeFlags } from './serve-flags.ts'

/** Variables of other commands, and of the daemon's own experiments and tests. */
const OTHERS =
  /^NABO_(?:(?:DOCKER|PODMAN|BUILDKIT|WARM|TEST)_.*|ADMIN_URL|ALL_PLATFORMS|DRY_RUN|FULL|JSON|MIRROR_URL|MODE|MOVER|PARALLEL|PLATFORM|QUIET|RESOLVE_TAGS|TIMEOUT|WAIT)$/
/** What Kubernetes puts into pods for a Service whose name begins with nabo: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables */
const SERVICES = /^NABO_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_\d+_.*)?)$/

/** The variables that look like those of `nabo serve`, and that neither its flags read nor `own`, those of another command. */
export function unknownVariables(
  environment: Readonly<Record<string, string | undefined>>,
  own: Pick<Command, 'options'> = { options: [] },
): readonly string[] {
  const known = new Set([...addServeFlags(new Command()).options, ...own.options].map(({ envVar }) => envVar))
  const candidates = Object.keys(environment).filter((name) => name.startsWith('NABO_'))
  return candidates.filter((name) => !known.has(name) && !OTHERS.test(name) && !SERVICES.test(name))
}
