import type { Command } from 'commander'

import { givenFlags } from '../config/given-flags.ts'
import { addServeFlags, serveFlagsOf } from '../config/serve-flags.ts'

/** Adds `nabo serve`, the daemon. */
export function addServe(program: Command): void {
  addServeFlags(program.command('serve').description('run the daemon').allowExcessArguments(false))
    .addHelpText('after', '\nEach flag has an environment variable: --peer-addr is NABO_PEER_ADDR. Flags win.')
    .action(async (values: Record<string, unknown>) => {
      // All that the daemon is made of: a second that nobody waits for who only wants the help.
      const { serve } = await import('../daemon/serve.ts')
      process.exitCode = await serve(serveFlagsOf(values), givenFlags(process.argv.slice(2)))
      // What is still open by now (a frozen peer's connection) must not keep the process.
      process.exit()
    })
}
