import { Command, Option } from 'commander'

import { environmentName } from './flag-option.ts'
import type { ServeFlags } from './serve-config.ts'
import { SERVE_FLAGS } from './serve-flag-table.ts'
import { addServeFlags, serveFlagsOf } from './serve-flags.ts'

/** The values of flags as their user wrote them, by flag: `--peer-addr` → `10.0.0.1:7951`. Defaults are left out. */
export type GivenFlags = Readonly<Record<string, readonly string[]>>

/** A flag with one value here and another one there; empty where it was not given. */
export interface FlagDifference {
  readonly flag: string
  readonly here: readonly string[]
  readonly there: readonly string[]
}

/** The flags of serve in the arguments of a command, or in its environment, whose variables count less. Throws nothing: wrong values are kept. */
export function givenFlags(args: readonly string[]): GivenFlags {
  const command = new Command().exitOverride().helpOption(false).allowUnknownOption().allowExcessArguments()
  command.configureOutput({ writeErr: () => {} })
  for (const { flags, preset } of SERVE_FLAGS) {
    const collect = (text: string, before: readonly string[] = []) => (text === '' ? before : [...before, text])
    const option = new Option(flags).env(environmentName(flags)).argParser(collect)
    command.addOption(preset === undefined ? option : option.preset(preset))
  }
  command.parse(args, { from: 'user' })
  const given: Record<string, readonly string[]> = {}
  for (const option of command.options) {
    const values: unknown = command.getOptionValue(option.attributeName())
    if (Array.isArray(values) && values.length > 0) given[option.long ?? ''] = values as string[]
  }
  return given
}

/** Parses given flags, whatever the environment of this process says. Throws commander's error for a wrong value. */
export function parseGivenFlags(given: GivenFlags): ServeFlags {
  let values: Record<string, unknown> = {}
  const command = addServeFlags(new Command()).exitOverride()
  command.configureOutput({ writeErr: () => {} }).action((read: Record<string, unknown>) => {
    values = read
  })
  for (const option of command.options) delete option.envVar
  const known = new Set(command.options.map(({ long }) => long))
  // A daemon of another version may have flags that this one does not know.
  const args = Object.entries(given).flatMap(([flag, all]) =>
    known.has(flag) ? all.map((value) => `${flag}=${value}`) : [],
  )
  command.parse(args, { from: 'user' })
  return serveFlagsOf(values)
}

/** The flags that are given here with another value than there. */
export function differencesOf(here: GivenFlags, there: GivenFlags): readonly FlagDifference[] {
  return Object.entries(here).flatMap(([flag, values]) => {
    const others = there[flag] ?? []
    return words(values) === words(others) ? [] : [{ flag, here: values, there: others }]
  })
}

/** Lists may be one value with blanks or commas, or several. */
function words(values: readonly string[]): string {
  return values.flatMap((value) => value.trim().split(/[\s,]+/)).join(' ')
}
