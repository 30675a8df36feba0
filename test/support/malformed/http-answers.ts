/** One answer of an HTTP/1.1 server. */
export interface HttpAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

export interface ParsedAnswers {
  readonly complete: readonly HttpAnswer[]
  /** Whether more bytes must follow for the last one. */
  readonly isCut: boolean
}

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3}) [\x20-\x7e]*$/
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)$/

/** Reads all that a server sent on one connection. Throws an Error if it is not HTTP/1.1 to the letter. `isHead`: the request was a HEAD. */
export function parseAnswers(bytes: Buffer, { isHead, ended }: { isHead: boolean; ended: boolean }): ParsedAnswers {
  const complete: HttpAnswer[] = []
  for (let rest = bytes; rest.length > 0;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) {
      if (!'HTTP/1.'.startsWith(rest.subarray(0, 7).toString('latin1'))) throw malformed('no status line', rest)
      return { complete, isCut: true }
    }
    const { status, headers } = parseHead(rest.subarray(0, end).toString('latin1'))
    rest = rest.subarray(end + 4)
    const hasBody = !isHead && status >= 200 && status !== 204 && status !== 304
    const body = hasBody ? readBody(headers, rest, ended) : { bytes: Buffer.alloc(0), length: 0 }
    if (body === undefined) return { complete, isCut: true }
    complete.push({ status, headers, body: body.bytes })
    rest = rest.subarray(body.length)
  }
  return { complete, isCut: false }
}

function parseHead(text: string): Pick<HttpAnswer, 'status' | 'headers'> {
  const [first = '', ...lines] = text.split('\r\n')
  const status = STATUS_LINE.exec(first)?.[1]
  if (status === undefined) throw malformed('no status line', first)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value = ''] = HEADER_LINE.exec(line) ?? []
    if (name === undefined) throw malformed('no header line', line)
    headers.set(name.toLowerCase(), value.trim())
  }
  return { status: Number(status), headers }
}

/** The body and how many bytes it takes; undefined if it is not whole. */
function readBody(
  headers: ReadonlyMap<string, string>,
  rest: Buffer,
  ended: boolean,
): { bytes: Buffer; length: number } | undefined {
  const length = headers.get('content-length')
  const encoding = headers.get('transfer-encoding')
  if (length !== undefined && encoding !== undefined) throw malformed('two lengths', `${length}, ${encoding}`)
  if (encoding !== undefined) {
    if (encoding !== 'chunked') throw malformed('an unknown transfer encoding', encoding)
    return readChunks(rest)
  }
  if (length === undefined) return ended ? { bytes: rest, length: rest.length } : undefined
  if (!/^\d+$/.test(length)) throw malformed('no length', length)
  return rest.length < Number(length) ? undefined : { bytes: rest.subarray(0, Number(length)), length: Number(length) }
}

function readChunks(rest: Buffer): { bytes: Buffer; length: number } | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ;) {
    const end = rest.indexOf('\r\n', at)
    if (end < 0) return undefined
    const line = rest.subarray(at, end).toString('latin1')
    if (!/^[0-9a-f]+$/i.test(line)) throw malformed('no chunk size', line)
    const size = Number.parseInt(line, 16)
    const next = end + 2 + size + 2
    if (rest.length < next) return undefined
    if (rest.subarray(next - 2, next).toString('latin1') !== '\r\n') throw malformed('a chunk without an end', line)
    chunks.push(rest.subarray(end + 2, end + 2 + size))
    if (size === 0) return { bytes: Buffer.concat(chunks), length: next }
    at = next
  }
}

function malformed(what: string, near: string | Buffer): Error {
  return new Error(`not HTTP: ${what}: ${JSON.stringify(near.toString('latin1').slice(0, 200))}`)
}
