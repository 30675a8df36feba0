import { Command, CommanderError } from 'commander'

import { addServeFlags, serveConfigOf } from './config/serve-flags.ts'
import { EXIT, serve } from './daemon/serve.ts'

const program = new Command('nabo')
  .description('Container image layers from the neighbour node, and from Docker Hub only when no node holds them.')
  .exitOverride()
  .showHelpAfterError('(nabo serve --help lists the flags)')

const serveCommand = addServeFlags(program.command('serve').description('run the daemon').allowExcessArguments(false))
  .exitOverride()
  .action(async (values: Record<string, unknown>) => {
    process.exitCode = await serve(serveConfigOf(values))
    // What is still open by now (a frozen peer's connection) must not keep the process.
    process.exit()
  })
serveCommand.addHelpText('after', '\nEach flag has an environment variable: --peer-addr is NABO_PEER_ADDR. Flags win.')

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
}
