/** What an HTTP/1.1 answer begins with. */
export interface AnswerHead {
  readonly status: number
  /** By names in small letters; values that came more than once are joined with a comma. */
  readonly headers: ReadonlyMap<string, string>
  /** Of the body, in bytes; undefined if the head does not say it: then the body cannot be told from what follows. */
  readonly length: number | undefined
  /** Whether the connection can be used again. */
  readonly keepsAlive: boolean
}

/** What came is no answer that one could go on with. */
export class AnswerHeadError extends Error {
  override readonly name = 'AnswerHeadError'
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([2-5]\d\d)(?: .*)?$/
// https://www.rfc-editor.org/rfc/rfc9110#section-5.1, and no line folding. One run each, so that no line takes longer than it is long.
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):([\t\x20-\x7e]*)$/
/** These have none, whatever they say of it. */
const BODILESS = new Set([204, 304])

/** Reads a head without the empty line that ends it. Throws AnswerHeadError. */
export function parseAnswerHead(text: string): AnswerHead {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const [, minor, digits] = STATUS_LINE.exec(statusLine) ?? []
  if (digits === undefined) throw new AnswerHeadError('what it answered is not HTTP/1.1')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, raw] = FIELD.exec(line) ?? []
    if (name === undefined || raw === undefined) throw new AnswerHeadError('it answered with a malformed header')
    const key = name.toLowerCase()
    const value = raw.trim()
    const before = headers.get(key)
    headers.set(key, before === undefined ? value : `${before}, ${value}`)
  }
  const status = Number(digits)
  const length = BODILESS.has(status) ? 0 : bodyLength(headers)
  const keepsAlive = minor === '1' && length !== undefined && !/\bclose\b/i.test(headers.get('connection') ?? '')
  return { status, headers, length, keepsAlive }
}

function bodyLength(headers: ReadonlyMap<string, string>): number | undefined {
  const text = headers.get('content-length')
  if (headers.has('transfer-encoding') || text === undefined) return undefined
  const length = /^\d{1,15}$/.test(text) ? Number(text) : undefined
  if (length === undefined) throw new AnswerHeadError('it answered with a length that is none')
  return length
}
