import { Option } from 'commander'

/** A flag of `nabo serve`. */
export interface Flag {
  readonly flags: string
  readonly about: string
  readonly parse?: (text: string) => unknown
  readonly choices?: readonly string[]
  readonly default?: string
  /** The value of the flag when it is given without one. */
  readonly preset?: string
  /** May be given more than once; in the environment, values stand with blanks between them. */
  readonly repeatable?: 'list' | 'map'
  /** The pattern between values; blanks if absent. */
  readonly separator?: RegExp
}

/** The option of commander for a flag, with its environment variable. */
export function optionOf(flag: Flag): Option {
  const option = new Option(flag.flags, flag.about).env(environmentName(flag.flags))
  if (flag.choices !== undefined) option.choices([...flag.choices])
  if (flag.preset !== undefined) option.preset(flag.preset)
  const parse = flag.parse ?? ((text: string) => text)
  const value = flag.default === undefined || flag.choices !== undefined ? flag.default : parse(flag.default)
  const defaults = flag.repeatable === undefined || value === undefined ? undefined : [value]
  if (flag.repeatable !== undefined) option.argParser(collect(parse, defaults, flag.separator))
  else if (flag.choices === undefined) option.argParser(parse)
  const { parseArg } = option
  // An empty value is none: charts set variables that they have nothing to say about.
  if (parseArg !== undefined) option.argParser((text, previous) => (text === '' ? previous : parseArg(text, previous)))
  return value === undefined ? option : option.default(defaults ?? value, flag.default)
}

/** The first value given takes the place of the defaults. */
function collect(parse: (text: string) => unknown, defaults: readonly unknown[] | undefined, separator = /\s+/) {
  return (text: string, previous: unknown): unknown[] => {
    const before = Array.isArray(previous) && previous !== defaults ? (previous as unknown[]) : []
    return [...before, ...text.trim().split(separator).map(parse)]
  }
}

/** `NABO_<FLAG>` for `--<flag> <value>`. */
export function environmentName(flags: string): string {
  return `NABO_${(flags.split(' ')[0] ?? '').slice(2).replaceAll('-', '_').toUpperCase()}`
}
