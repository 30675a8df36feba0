import type { Insertion } from '../marked-block.ts'
import { scanToml, type TomlItem } from '../toml/scan-toml.ts'
import { arrayInsertion, parseToml, says, type TomlObject, TomlTextError } from '../toml/toml-text.ts'
import { type Unmarked, withBlocks } from '../marked-block.ts'

/** A `[[registry]]` of a registries.conf. */
export interface RegistryEntry {
  readonly prefix: string
  /** Where its images really are: what a mirror of it mirrors. */
  readonly location: string
}

/** What to put into one file. Locations are Nabo's: `127.0.0.1:7950/docker.io`. */
export interface ConfAdditions {
  /** In front of the mirrors of the entries at these positions. */
  readonly mirrors: ReadonlyMap<number, string>
  /** New entries, by registry. */
  readonly entries: ReadonlyMap<string, string>
  /** Nabo is reached by plain HTTP. */
  readonly insecure: boolean
}

/** The entries of a file, in its order. Throws TomlTextError: also for the first version of the format, which knows no mirrors. */
export function entriesOf(text: string): readonly RegistryEntry[] {
  const root = parseToml(text)
  if (root['registries'] !== undefined)
    throw new TomlTextError('it is in the first version of the format, [registries.search], which knows no mirrors')
  return tablesIn(root, 'registry').map((table) => {
    const location = stringOf(table['location'])
    const prefix = stringOf(table['prefix']) || location
    return { prefix, location: location || prefix }
  })
}

/** `unmarked` is the file without what Nabo put in earlier. Throws TomlTextError. */
export function withNabo(unmarked: Unmarked, additions: ConfAdditions, newFolders?: number): string {
  const { text } = unmarked
  const { mirrors, entries, insecure } = additions
  const wanted = parseToml(text)
  const insertions: Insertion[] = []
  for (const [index, location] of mirrors) {
    const entry = tablesIn(wanted, 'registry')[index]
    if (entry === undefined) continue
    const before = tablesIn(entry, 'mirror')
    if (before.some((mirror) => mirror['location'] === location)) continue
    entry['mirror'] = [mirrorOf(location, insecure), ...before]
    const insertion = insertionInto(text, index, location, insecure)
    if (insertion !== undefined) insertions.push(insertion)
  }
  if (entries.size > 0) {
    const added = [...entries].map(([registry, location]) => entryOf(registry, location, insecure))
    wanted['registry'] = [...tablesIn(wanted, 'registry'), ...added]
    insertions.push({ at: text.length, lines: linesOf(entries, insecure) })
  }
  const result = withBlocks(text, insertions, newFolders)
  if (!says(result, wanted))
    throw new TomlTextError('its registries are written in a way that Nabo cannot edit: use [[registry]]')
  return result
}

/** Below the entry's own keys, so above its other mirrors; or in front in its list, if it has one. undefined: nowhere. */
function insertionInto(text: string, index: number, location: string, insecure: boolean): Insertion | undefined {
  const items = itemsOf(scanToml(text), index)
  const list = items.find((item) => item.kind === 'value' && item.path.join(' ') === 'registry mirror')
  if (list !== undefined) return arrayInsertion(list, inline(location, insecure))
  const others = items.findIndex((item, at) => at > 0 && item.kind !== 'value')
  const own = items.slice(0, others < 0 ? items.length : others).at(-1)
  if (own === undefined) return undefined
  const newline = text.indexOf('\n', own.end)
  return { at: newline < 0 ? text.length : newline + 1, lines: mirrorLines(location, insecure) }
}

/** The header and all that belongs to the entry at a position. */
export function itemsOf(items: readonly TomlItem[], index: number): readonly TomlItem[] {
  const starts = items.flatMap((item, at) => (item.kind === 'tables' && item.path.join(' ') === 'registry' ? [at] : []))
  const start = starts[index]
  if (start === undefined) return []
  const length = items.slice(start + 1).findIndex((item) => item.path[0] !== 'registry' || startsEntry(item))
  return length < 0 ? items.slice(start) : items.slice(start, start + 1 + length)
}

function startsEntry(item: TomlItem): boolean {
  return item.kind === 'tables' && item.path.length === 1
}

function linesOf(entries: ReadonlyMap<string, string>, insecure: boolean): string[] {
  return [...entries].flatMap(([registry, location], index) => [
    ...(index === 0 ? [] : ['']),
    '[[registry]]',
    `prefix = ${JSON.stringify(registry)}`,
    `location = ${JSON.stringify(registry)}`,
    ...mirrorLines(location, insecure),
  ])
}

function mirrorLines(location: string, insecure: boolean): string[] {
  const lines = ['[[registry.mirror]]', `location = ${JSON.stringify(location)}`]
  return insecure ? [...lines, 'insecure = true'] : lines
}

function inline(location: string, insecure: boolean): string {
  return `{ location = ${JSON.stringify(location)}${insecure ? ', insecure = true' : ''} }`
}

function mirrorOf(location: string, insecure: boolean): TomlObject {
  return insecure ? { location, insecure } : { location }
}

function entryOf(registry: string, location: string, insecure: boolean): TomlObject {
  return { prefix: registry, location: registry, mirror: [mirrorOf(location, insecure)] }
}

/** Throws TomlTextError. */
export function tablesIn(parent: TomlObject, key: 'registry' | 'mirror'): TomlObject[] {
  const all = parent[key] ?? []
  if (!Array.isArray(all)) throw new TomlTextError(`its ${key} is no list of tables`)
  return all.filter((value): value is TomlObject => typeof value === 'object' && value !== null)
}

function stringOf(value: unknown): string {
  return typeof value === 'string' ? value.replace(/\/+$/, '') : ''
}
