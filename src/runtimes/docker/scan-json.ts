/** A part of a text: from `start` up to, not including, `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

export interface JsonMember {
  readonly name: string
  /** From the quote of its name to the end of its value. */
  readonly whole: Span
  readonly value: Span
}

/** The line of a text, from 1, in which it stops being JSON; undefined if all of it is. Says nothing of what stands there. */
export function invalidLine(text: string): number | undefined {
  const at = validTo(text, skipBlank(text, 0))
  const rest = at.isValid ? skipBlank(text, at.end) : at.end
  if (at.isValid && rest === text.length) return undefined
  return text.slice(0, rest).split('\n').length
}

interface Validity {
  readonly isValid: boolean
  /** Where the value ends, or where it stops being JSON. */
  readonly end: number
}

/** Checks the value at `at`, which must be no blank. */
function validTo(text: string, at: number): Validity {
  const open = text[at]
  if (open === '{' || open === '[') return validContainer(text, at, open === '{' ? '}' : ']')
  const length = [VALID_STRING, VALID_SCALAR].map((pattern) => lengthOf(pattern, text, at)).find((found) => found > 0)
  return length === undefined ? { isValid: false, end: at } : { isValid: true, end: at + length }
}

function validContainer(text: string, start: number, close: '}' | ']'): Validity {
  let at = skipBlank(text, start + 1)
  if (text[at] === close) return { isValid: true, end: at + 1 }
  for (;;) {
    if (close === '}') {
      const name = lengthOf(VALID_STRING, text, at)
      if (name === 0) return { isValid: false, end: at }
      at = skipBlank(text, at + name)
      if (text[at] !== ':') return { isValid: false, end: at }
      at = skipBlank(text, at + 1)
    }
    const value = validTo(text, at)
    if (!value.isValid) return value
    at = skipBlank(text, value.end)
    if (text[at] === close) return { isValid: true, end: at + 1 }
    if (text[at] !== ',') return { isValid: false, end: at }
    at = skipBlank(text, at + 1)
  }
}

const BLANK = /[ \t\r\n]*/y
const STRING = /"(?:[^"\\]|\\.)*"/y
const SCALAR = /[^,\]}\s]+/y
// https://www.rfc-editor.org/rfc/rfc8259
const VALID_STRING = /"(?:[ !#-[\]-\u{10ffff}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy
const VALID_SCALAR = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[,\]}\s]|$)/y

/** Where the members of the object at `at` stand, and its closing brace. The text must be valid JSON. */
export function scanObject(
  text: string,
  at: number,
): { readonly members: readonly JsonMember[]; readonly close: number } {
  const members: JsonMember[] = []
  let next = skipBlank(text, at + 1)
  while (text[next] !== '}') {
    const start = next
    const end = endOf(STRING, text, start)
    const valueStart = skipBlank(text, skipBlank(text, end) + 1)
    const value = { start: valueStart, end: endOfValue(text, valueStart) }
    members.push({ name: String(JSON.parse(text.slice(start, end))), whole: { start, end: value.end }, value })
    next = skipComma(text, value.end)
  }
  return { members, close: next }
}

/** Where the elements of the array at `at` stand, and its closing bracket. The text must be valid JSON. */
export function scanArray(text: string, at: number): { readonly elements: readonly Span[]; readonly close: number } {
  const elements: Span[] = []
  let next = skipBlank(text, at + 1)
  while (text[next] !== ']') {
    const end = endOfValue(text, next)
    elements.push({ start: next, end })
    next = skipComma(text, end)
  }
  return { elements, close: next }
}

function endOfValue(text: string, at: number): number {
  if (text[at] === '"') return endOf(STRING, text, at)
  if (text[at] === '{') return scanObject(text, at).close + 1
  if (text[at] === '[') return scanArray(text, at).close + 1
  return endOf(SCALAR, text, at)
}

function skipComma(text: string, at: number): number {
  const next = skipBlank(text, at)
  return text[next] === ',' ? skipBlank(text, next + 1) : next
}

function skipBlank(text: string, at: number): number {
  return at + lengthOf(BLANK, text, at)
}

function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0].length ?? 0
}

function endOf(pattern: RegExp, text: string, at: number): number {
  const length = lengthOf(pattern, text, at)
  if (length === 0) throw new Error(`no JSON value at ${at}`)
  return at + length
}
