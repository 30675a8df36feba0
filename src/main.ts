import { inspect } from 'node:util'

import { Command, CommanderError } from 'commander'

import { EXIT } from './cli/exit.ts'
import { warnOfVariables } from './cli/warn-of-variables.ts'
import { withoutUserinfo } from './config/userinfo.ts'
import { VERSION } from './version.ts'

/** What each command's module exports. Only the module of the command that is run is loaded: a command answers at once. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./cli/serve.ts')).addServe,
  status: async () => (await import('./cli/status.ts')).addStatus,
  peers: async () => (await import('./cli/peers.ts')).addPeers,
  find: async () => (await import('./cli/find.ts')).addFind,
  pull: async () => (await import('./cli/pull.ts')).addPull,
  configure: async () => (await import('./cli/configure.ts')).addConfigure,
  doctor: async () => (await import('./cli/doctor.ts')).addDoctor,
  restore: async () => (await import('./cli/restore.ts')).addRestore,
  wait: async () => (await import('./cli/wait.ts')).addWait,
  warm: async () => (await import('./cli/warm.ts')).addWarm,
}

const program = new Command('nabo')
  .description('Container image layers from the neighbour node, and from Docker Hub only when no node holds them.')
  .version(VERSION)
  .exitOverride()
  // All commands take this over.
  .configureOutput({ outputError: (text, write) => write(withoutUserinfo(text)) })
  // An empty value is none, of which commander makes an empty text where there is no default.
  .hook('preAction', async (_program, command) => {
    await warnOfVariables(command)
    for (const [name, value] of Object.entries(command.opts()))
      if (value === '') command.setOptionValue(name, undefined)
  })
  .showHelpAfterError('(nabo --help lists the commands, nabo <command> --help the flags of one)')

// `nabo peers | head` ends when head has had enough.
process.stdout.on('error', ({ code = '' }: NodeJS.ErrnoException) => {
  if (code !== 'EPIPE') process.stderr.write(`nabo: standard output cannot be written to: ${code}\n`)
  process.exit(code === 'EPIPE' ? EXIT.ok : EXIT.failed)
})

const named = COMMANDS[process.argv.slice(2).find((word) => !word.startsWith('-') && word !== 'help') ?? '']
for (const load of named === undefined ? Object.values(COMMANDS) : [named]) (await load())(program)

try {
  await program.parseAsync()
} catch (error) {
  const isExpected = error instanceof CommanderError
  if (!isExpected) process.stderr.write(`nabo: an error that nobody foresaw: ${inspect(error)}\n`)
  process.exitCode = !isExpected ? EXIT.internal : error.exitCode === 0 ? EXIT.ok : EXIT.usage
}
