import { scanToml, type TomlItem } from '../toml/scan-toml.ts'
import { parseToml, type TomlObject } from '../toml/toml-text.ts'
import { entriesOf, itemsOf, tablesIn } from './registries-conf.ts'

/** A text of a registries.conf, or of a file in registries.conf.d. */
export interface ConfText {
  readonly path: string
  readonly text: string
}

/** A setting by which clients ask a mirror for a part of their images only. */
export interface MirrorLimit {
  readonly path: string
  /** From 1. */
  readonly line: number
  /** The registry, or the part of one, that the entry is about. */
  readonly prefix: string
  /** `mirror-by-digest-only = true` */
  readonly setting: string
  /** The images that go past the mirror: those named by a tag, or by a digest. */
  readonly keepsAway: 'tags' | 'digests'
}

export interface MirrorUse {
  /** The prefixes of the entries in force that name the mirror. */
  readonly prefixes: readonly string[]
  readonly limits: readonly MirrorLimit[]
}

/**
 * What the files, in the order in which clients read them, say about the mirror that `isMirror` recognises by its location. The last file with an
 * entry for a prefix replaces the entries of earlier ones. Throws TomlTextError.
 */
export function mirrorUseIn(confs: readonly ConfText[], isMirror: (location: string) => boolean): MirrorUse {
  const read = confs.map((conf) => ({ conf, entries: isFirstFormat(conf.text) ? [] : entriesOf(conf.text) }))
  const uses = read.flatMap(({ conf, entries }, at) => {
    const later = new Set(read.slice(at + 1).flatMap((other) => other.entries.map(({ prefix }) => prefix)))
    return entries.flatMap(({ prefix }, index) => (later.has(prefix) ? [] : useOf(conf, index, prefix, isMirror)))
  })
  return { prefixes: uses.map(({ prefix }) => prefix), limits: uses.flatMap(({ limit }) => limit ?? []) }
}

/** The first version of the format (`[registries.search]`) has no mirrors. */
function isFirstFormat(text: string): boolean {
  return parseToml(text)['registries'] !== undefined
}

function useOf(
  conf: ConfText,
  index: number,
  prefix: string,
  isMirror: (location: string) => boolean,
): { readonly prefix: string; readonly limit: MirrorLimit | undefined }[] {
  const entry = tablesIn(parseToml(conf.text), 'registry')[index] ?? {}
  const position = tablesIn(entry, 'mirror').findIndex(({ location }) => isMirror(String(location)))
  const mirror = tablesIn(entry, 'mirror')[position]
  if (mirror === undefined) return []
  const items = itemsOf(scanToml(conf.text), index)
  const found = settingOf(entry, mirror)
  if (found === undefined) return [{ prefix, limit: undefined }]
  const { setting, keepsAway, isOfMirror } = found
  const line = lineOf(conf.text, isOfMirror ? itemsOfMirror(items, position) : items, setting)
  return [{ prefix, limit: { path: conf.path, line, prefix, setting, keepsAway } }]
}

function settingOf(
  entry: TomlObject,
  mirror: TomlObject,
): (Pick<MirrorLimit, 'setting' | 'keepsAway'> & { readonly isOfMirror: boolean }) | undefined {
  if (entry['mirror-by-digest-only'] === true)
    return { setting: 'mirror-by-digest-only = true', keepsAway: 'tags', isOfMirror: false }
  const pulls = mirror['pull-from-mirror']
  if (pulls !== 'digest-only' && pulls !== 'tag-only') return undefined
  const keepsAway = pulls === 'digest-only' ? 'tags' : 'digests'
  return { setting: `pull-from-mirror = "${pulls}"`, keepsAway, isOfMirror: true }
}

/** The items of one `[[registry.mirror]]`; those of the list where the mirrors are inline tables. */
function itemsOfMirror(items: readonly TomlItem[], position: number): readonly TomlItem[] {
  const starts = items.flatMap((item, at) =>
    item.kind === 'tables' && item.path.join(' ') === 'registry mirror' ? [at] : [],
  )
  return starts.length === 0 ? items : items.slice(starts[position], starts[position + 1])
}

/** The line of a setting; of the list of mirrors, if it stands in there. */
function lineOf(text: string, items: readonly TomlItem[], setting: string): number {
  const key = setting.split(' ')[0]
  const item =
    items.find(({ kind, path }) => kind === 'value' && path.at(-1) === key) ??
    items.find(({ kind, path }) => kind === 'value' && path.join(' ') === 'registry mirror')
  return text.slice(0, item?.start ?? 0).split('\n').length
}
