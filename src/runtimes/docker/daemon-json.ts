import { endOfLine } from '../marked-block.ts'
import { invalidLine, type JsonMember, scanArray, scanObject, type Span } from './scan-json.ts'

const KEY = 'registry-mirrors'

/** What of a daemon.json is Nabo's: JSON has no comments that could say so. */
export interface DockerPart {
  /** Nabo's entries in `registry-mirrors`: one, or two in the middle of a change. */
  readonly mirrors: readonly string[]
  /** The very text that was put in. */
  readonly inserted: string
  /** `registry-mirrors` itself is Nabo's. */
  readonly key: boolean
  /** The object is, too: the file was empty. */
  readonly object: boolean
}

/** A daemon.json that cannot be edited; the message says what is wrong with it. */
export class DaemonJsonError extends Error {
  override readonly name = 'DaemonJsonError'
}

export interface Edited {
  readonly text: string
  /** undefined: nothing in the text is Nabo's. */
  readonly part?: DockerPart
}

/**
 * Puts a mirror in front of the others. One that is there already stays where it is: it is Nabo's only if `before`, what Nabo put in
 * earlier, says so. Throws DaemonJsonError.
 */
export function withMirror(text: string, mirror: string, before?: DockerPart): Edited {
  const listed = mirrorsOf(text)
  if (before?.mirrors.includes(mirror) === true && listed.includes(mirror)) {
    const others = before.mirrors.filter((each) => each !== mirror)
    return { text: withoutElements(text, others), part: renamed(before, mirror) }
  }
  if (listed.some((each) => each.replace(/\/+$/, '') === mirror))
    return { text: before === undefined ? text : withoutElements(text, before.mirrors) }
  const replaced = before?.mirrors.find((each) => listed.includes(each))
  if (before === undefined || replaced === undefined) return inserted(text, mirror)
  return { text: withElementReplaced(text, replaced, mirror), part: renamed(before, mirror) }
}

/** Takes out what Nabo put in, byte for byte if nobody has touched it since. Throws DaemonJsonError. */
export function withoutMirror(text: string, part: DockerPart): string {
  const present = mirrorsOf(text).some((mirror) => part.mirrors.includes(mirror))
  if (!present) return text
  for (const mirror of part.mirrors) {
    const pieces = text.split(renamed(part, mirror).inserted)
    if (pieces.length === 2 && isFreeOf(pieces.join(''), part)) return pieces.join('')
  }
  return withoutObject(withoutMember(withoutElements(text, part.mirrors), part), part)
}

/** The mirrors that it names. Throws DaemonJsonError. */
export function mirrorsOf(text: string): readonly string[] {
  const value: unknown = parse(text)[KEY]
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string'))
    throw new DaemonJsonError(`its ${KEY} is not a list of URLs`)
  return value
}

function renamed(part: DockerPart, mirror: string): DockerPart {
  const from = quote(part.mirrors[0] ?? '')
  return { ...part, mirrors: [mirror], inserted: part.inserted.replace(from, () => quote(mirror)) }
}

function inserted(text: string, mirror: string): Edited {
  const eol = endOfLine(text)
  const made = `"${KEY}": [${quote(mirror)}]`
  const put = (at: number, insertion: string, is: { key: boolean; object: boolean }): Edited => ({
    text: `${text.slice(0, at)}${insertion}${text.slice(at)}`,
    part: { mirrors: [mirror], inserted: insertion, ...is },
  })
  if (text.trim() === '') return put(text.length, `{${eol}  ${made}${eol}}${eol}`, { key: true, object: true })
  const open = text.indexOf('{')
  const { members, close } = scanObject(text, open)
  const member = memberOf(members)
  if (member !== undefined) {
    const { elements, close: bracket } = scanArray(text, member.value.start)
    const at = elements[0]?.start ?? bracket
    const gap = text.slice(member.value.start + 1, at)
    const more = elements.length === 0 ? '' : `,${gap.includes('\n') ? gap : ' '}`
    return put(at, `${quote(mirror)}${more}`, { key: false, object: false })
  }
  const is = { key: true, object: false }
  const gap = text.slice(open + 1, members[0]?.whole.start ?? close)
  const last = members.at(-1)
  if (last !== undefined) return put(last.whole.end, `,${gap.includes('\n') ? gap : ' '}${made}`, is)
  return put(open + 1, `${eol}  ${made}${gap.includes('\n') ? '' : eol}`, is)
}

function withElementReplaced(text: string, from: string, to: string): string {
  const at = elementsOf(text).find((element) => JSON.parse(text.slice(element.start, element.end)) === from)
  return at === undefined ? text : `${text.slice(0, at.start)}${quote(to)}${text.slice(at.end)}`
}

function withoutElements(text: string, mirrors: readonly string[]): string {
  const elements = elementsOf(text)
  const index = elements.findIndex(({ start, end }) => mirrors.includes(String(JSON.parse(text.slice(start, end)))))
  return index < 0 ? text : withoutElements(cut(text, elements, index), mirrors)
}

function withoutMember(text: string, part: DockerPart): string {
  const { members } = scanObject(text, text.indexOf('{'))
  const member = memberOf(members)
  if (!part.key || member === undefined || elementsOf(text).length > 0) return text
  const spans = members.map(({ whole }) => whole)
  return cut(text, spans, members.indexOf(member))
}

function withoutObject(text: string, part: DockerPart): string {
  const object = /\{\s*\}\r?\n?/
  return part.object && Object.keys(parse(text)).length === 0 ? text.replace(object, '') : text
}

/** Takes one of several parts out, with the comma that it needs no more. */
function cut(text: string, spans: readonly Span[], index: number): string {
  const { start = 0, end = 0 } = spans[index] ?? {}
  const next = spans[index + 1]
  const from = next === undefined ? (spans[index - 1]?.end ?? start) : start
  return `${text.slice(0, from)}${text.slice(next?.start ?? end)}`
}

function elementsOf(text: string): readonly Span[] {
  if (text.trim() === '') return []
  const member = memberOf(scanObject(text, text.indexOf('{')).members)
  return member === undefined ? [] : scanArray(text, member.value.start).elements
}

/** dockerd, like JSON.parse, takes the last one of a name that is there twice. */
function memberOf(members: readonly JsonMember[]): JsonMember | undefined {
  return members.findLast(({ name }) => name === KEY)
}

function isFreeOf(text: string, part: DockerPart): boolean {
  try {
    return !mirrorsOf(text).some((mirror) => part.mirrors.includes(mirror))
  } catch {
    return false
  }
}

/** dockerd takes an empty file for an empty object. */
function parse(text: string): Record<string, unknown> {
  if (text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message may quote the text, and passwords of proxies may be in it.
    const line = invalidLine(text)
    throw new DaemonJsonError(`it is not valid JSON${line === undefined ? '' : ` (line ${line})`}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DaemonJsonError('it holds no JSON object')
  return value as Record<string, unknown>
}

function quote(text: string): string {
  return JSON.stringify(text)
}
