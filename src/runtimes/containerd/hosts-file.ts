import { type TomlTable, TomlError, parse, stringify } from 'smol-toml'

import { type BlockNotes, type MarkedBlock, blockLines, findBlocks, isMark, splitLines } from './hosts-block.ts'
import { type Statement, statementsOf } from './toml-statements.ts'

/** What containerd shall be told about Nabo. */
export interface HostsSettings {
  /** Without a slash at the end. */
  readonly mirrorUrl: string
  /** `prepend`: other mirrors are asked after Nabo; `replace`: they are out of use. */
  readonly mode: 'prepend' | 'replace'
  /** Nabo is asked what a tag names. */
  readonly resolveTags: boolean
  /** For the header `Nabo-Token`. */
  readonly token?: string
}

/** A hosts.toml without Nabo's part. */
export interface StrippedFile {
  readonly text: string
  /** There was a part of Nabo. */
  readonly hadNabo: boolean
  readonly notes: BlockNotes
  /** What was between the marks had been changed by hand; sections that somebody added there are kept in `text`. */
  readonly wasEdited: boolean
}

/** A hosts.toml that cannot be edited, with a sentence for the operator that does not name the file. */
export class HostsFileError extends Error {
  override readonly name = 'HostsFileError'
}

const BOM = '\uFEFF'
/** Before each line of somebody else's hosts that are out of use. */
const OFF = '# nabo: off | '
/** Behind each header that Nabo wrote: one without it between the marks is somebody else's. */
const TAG = ' # nabo'
/**
 * How long containerd waits for a connection to Nabo, from 2.0.7 and 2.1 on; older versions ignore the key and wait 30 s. A connection on the same
 * node takes microseconds; if none is made (a dropped packet, a full backlog), each request goes on to the next host after this time.
 */
const DIAL_TIMEOUT = '200ms'
const WORDS = '# Written by "nabo configure containerd"; "nabo restore containerd" takes it out again.'

/** True for a text in which something is Nabo's. */
export function hasNabo(text: string): boolean {
  return splitLines(text).some((line) => isMark(line) || line.startsWith(OFF))
}

/** Takes out what {@link withNabo} put in, and nothing else. Throws MarksError. */
export function withoutNabo(text: string): StrippedFile {
  const bom = text.startsWith(BOM) ? BOM : ''
  const lines = splitLines(text.slice(bom.length))
  const blocks = findBlocks(lines)
  const kept = blocks.map((block) =>
    block.isIntact ? [] : foreignSections(lines.slice(block.start + 1, block.end - 1)),
  )
  const rest: string[] = []
  let at = 0
  for (const [index, block] of blocks.entries()) {
    rest.push(...lines.slice(at, block.start), ...(kept[index] ?? []))
    at = block.end
  }
  rest.push(...lines.slice(at))
  // A block without a line end stands behind a last line that had none either.
  if (endsWithBlock(lines, blocks)) rest.push((rest.pop() ?? '').replace(/\r?\n$/, ''))
  const others = rest
    .filter((line) => !isMark(line))
    .map((line) => (line.startsWith(OFF) ? line.slice(OFF.length) : line))
  return {
    text: `${bom}${others.join('')}`,
    hadNabo: hasNabo(text),
    notes: blocks[0]?.notes ?? {},
    wasEdited: blocks.some((block) => !block.isIntact),
  }
}

/**
 * Puts Nabo before all other hosts, or its part up to date. `otherwise` is what containerd would go by if there were no such file: it is
 * written beside Nabo's host where nobody else has set anything. Throws HostsFileError and MarksError.
 */
export function withNabo(text: string, settings: HostsSettings, otherwise: TomlTable, notes: BlockNotes): string {
  const stripped = withoutNabo(text).text
  const bom = stripped.startsWith(BOM) ? BOM : ''
  const body = stripped.slice(bom.length)
  requireValid(body, text)
  const statements = statementsOf(body)
  requireSections(statements)

  const lines = splitLines(body)
  const isUnset = statements.length === 0
  const block = blockLines(partOf(settings, isUnset ? otherwise : {}), notes)
  const spot = spotFor(block, text.slice(bom.length), statements, lines)
  const off = linesOff(statements, settings, lines)
  const others = lines.map((line, at) => (off.has(at) ? `${OFF}${line}` : line))
  const edited = `${bom}${insert(others, spot, block)}`
  requireFirst(edited.slice(bom.length), settings.mirrorUrl)
  return edited
}

/** What a valid hosts.toml says, without Nabo's part; undefined if that is not valid. */
export function othersPartOf(text: string): TomlTable | undefined {
  try {
    return parse(withoutNabo(text).text.replace(BOM, ''))
  } catch {
    return undefined
  }
}

function partOf(settings: HostsSettings, otherwise: TomlTable): string[] {
  const { host, ...top } = otherwise
  const name = `host.${JSON.stringify(settings.mirrorUrl)}`
  const capabilities = settings.resolveTags ? '["pull", "resolve"]' : '["pull"]'
  const own = [
    `[${name}]${TAG}`,
    `  capabilities = ${capabilities}`,
    `  dial_timeout = ${JSON.stringify(DIAL_TIMEOUT)}`,
  ]
  if (settings.token !== undefined)
    own.push(`  [${name}.header]${TAG}`, `    Nabo-Token = ${JSON.stringify(settings.token)}`)
  const others = settings.mode === 'replace' || !isTable(host) ? {} : { ...host }
  for (const url of Object.keys(others)) if (sameUrl(url, settings.mirrorUrl)) delete others[url]
  return [
    WORDS,
    ...tomlLines(top),
    ...(Object.keys(top).length === 0 ? [] : ['']),
    ...own,
    ...(Object.keys(others).length === 0
      ? []
      : ['# As in _default, which containerd no longer reads for this registry.']),
    ...tomlLines({ host: others }).map((line) => (line.startsWith('[') ? `${line}${TAG}` : line)),
  ]
}

function tomlLines(table: TomlTable): string[] {
  return stringify(table)
    .split('\n')
    .filter((line) => line !== '' && line !== '[host]')
}

/** Where the block is, if it may be there, so that it does not wander; else before the first header and the comment above it. */
function spotFor(
  block: readonly string[],
  text: string,
  statements: readonly Statement[],
  lines: readonly string[],
): number {
  const hasKeys = statementsOf(block.join('\n'))[0]?.kind === 'key'
  const allLines = splitLines(text)
  const blocks = findBlocks(allLines)
  const present = blocks.length === 1 && blocks[0]?.isIntact === true ? blocks[0].start : undefined
  if (present !== undefined && isSpot(present, statements, hasKeys)) return present
  const header = statements.find(({ kind }) => kind === 'header')
  if (header === undefined) return lines.length
  let at = header.start
  while (at > 0 && /^\s*#/.test(lines[at - 1] ?? '') && !statements.some(({ end }) => end === at)) at--
  return at
}

/** After the keys that belong to no table, before all other hosts, and with no key behind it that would become Nabo's. */
function isSpot(line: number, statements: readonly Statement[], hasKeys: boolean): boolean {
  const before = statements.filter(({ start }) => start < line)
  const next = statements.find(({ start }) => start >= line)
  return (
    before.every(({ end }) => end <= line) &&
    before.every(({ kind, path }) => kind === 'key' || (path[0] !== 'host' && !hasKeys)) &&
    next?.kind !== 'key'
  )
}

/** The lines of other hosts that shall be out of use: all of them, or the one that has Nabo's own address. */
function linesOff(
  statements: readonly Statement[],
  { mode, mirrorUrl }: HostsSettings,
  lines: readonly string[],
): ReadonlySet<number> {
  const off = new Set<number>()
  let isOff = false
  for (const { kind, path, start, end } of statements) {
    if (kind === 'header')
      isOff = path[0] === 'host' && (mode === 'replace' || (path[1] !== undefined && sameUrl(path[1], mirrorUrl)))
    if (!isOff) continue
    for (let at = start; at < end; at++) if ((lines[at] ?? '').trim() !== '') off.add(at)
  }
  return off
}

function insert(lines: readonly string[], spot: number, block: readonly string[]): string {
  const eol = lines[0]?.endsWith('\r\n') === true ? '\r\n' : '\n'
  const before = lines.slice(0, spot).join('')
  const text = block.join(eol)
  // The last line of a file stays without a line end, if it had none.
  const isJoined = before !== '' && !before.endsWith('\n')
  return isJoined ? `${before}${eol}${text}` : `${before}${text}${eol}${lines.slice(spot).join('')}`
}

function endsWithBlock(lines: readonly string[], blocks: readonly MarkedBlock[]): boolean {
  return blocks.at(-1)?.end === lines.length && lines.at(-1)?.endsWith('\n') === false
}

/** The sections that somebody else wrote between the marks. */
function foreignSections(lines: readonly string[]): string[] {
  let isForeign = false
  return lines.filter((line) => {
    if (/^\s*\[/.test(line)) isForeign = !line.trimEnd().endsWith(TAG)
    return isForeign
  })
}

function requireValid(body: string, whole: string): void {
  try {
    const { host } = parse(body)
    if (host === undefined || (isTable(host) && Object.values(host).every(isTable))) return
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // The line as an editor shows it, Nabo's part included.
    const { line, column } = errorOf(whole) ?? error
    const what = error.message.split('\n')[0]?.replace('Invalid TOML document: ', '') ?? ''
    throw new HostsFileError(`is not valid TOML (line ${line}, column ${column}: ${what})`, { cause: error })
  }
  throw new HostsFileError('has a "host" that is not made of [host."…"] sections, so containerd cannot use it')
}

function errorOf(text: string): TomlError | undefined {
  try {
    parse(text.replace(BOM, ''))
    return undefined
  } catch (error) {
    return error instanceof TomlError ? error : undefined
  }
}

function requireSections(statements: readonly Statement[]): void {
  const header = statements.findIndex(({ kind }) => kind === 'header')
  const top = header < 0 ? statements : statements.slice(0, header)
  const inline = top.find(({ path }) => path[0] === 'host')
  if (inline !== undefined)
    throw new HostsFileError(
      `sets "host" in line ${inline.start + 1} in a form to which no host can be added: write it as [host."…"] sections`,
    )
}

/** What is written must be what was meant, whatever was there. */
function requireFirst(edited: string, mirrorUrl: string): void {
  const problem = errorOf(edited)
  const first = problem === undefined ? statementsOf(edited).find(isHostHeader)?.path[1] : undefined
  if (first !== mirrorUrl)
    throw new HostsFileError(
      `is of a form that Nabo cannot add to${problem === undefined ? '' : ` (${problem.message.split('\n')[0]})`}`,
      { cause: problem },
    )
}

function isHostHeader({ kind, path }: Statement): boolean {
  return kind === 'header' && path[0] === 'host' && path.length > 1
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function sameUrl(left: string, right: string): boolean {
  const normal = (url: string) => URL.parse(url)?.href.replace(/\/+$/, '') ?? url
  return normal(left) === normal(right)
}
