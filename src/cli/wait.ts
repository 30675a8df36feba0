import type { Command } from 'commander'

import { parseDuration } from '../config/parse.ts'
import { EXIT } from './exit.ts'
import { waitForMirror } from './mirror-check.ts'
import { mirrorUrlFlag } from './runtime-flags.ts'

/** Adds `nabo wait`. Exit code 1 if Nabo does not listen in time, or another program has its address. */
export function addWait(program: Command): void {
  program
    .command('wait')
    .description('return when Nabo listens on this node, as for the hook of a pod')
    .argument('<duration>', 'how long to wait at most, such as 60s', parseDuration)
    .allowExcessArguments(false)
    .addOption(mirrorUrlFlag())
    .action(async (ms: number, { mirrorUrl }: { mirrorUrl: string }) => {
      process.exitCode = (await waitForMirror(new URL(mirrorUrl), ms)) ? EXIT.ok : EXIT.failed
    })
}
