import type { Command } from 'commander'

/** Commands that read variables of `nabo serve`, or write settings of the daemon elsewhere. `serve` itself logs its warning. */
const READERS: ReadonlySet<string> = new Set(['doctor', 'configure', 'restore'])

/** Says on standard error which variables look like Nabo's and have no effect. */
export async function warnOfVariables(command: Command): Promise<void> {
  if (!READERS.has(topOf(command).name())) return
  if (!Object.keys(process.env).some((name) => name.startsWith('NABO_'))) return
  // The flags of serve: other commands do without them.
  const { unknownVariables } = await import('../config/unknown-variables.ts')
  for (const name of unknownVariables(process.env, command))
    process.stderr.write(
      `nabo: ${name} is no variable of Nabo and has no effect: see nabo serve --help for the names\n`,
    )
}

/** The command of the program that this is, or is a part of: `configure` for `configure docker`. */
function topOf(command: Command): Command {
  const { parent } = command
  return parent?.parent == null ? command : topOf(parent)
}
