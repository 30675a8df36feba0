import assert from 'node:assert/strict'

export interface Part {
  readonly type: string
  readonly range: string
  readonly bytes: Buffer
}

/** Reads a `multipart/byteranges` body strictly (RFC 2046 5.1.1): nothing before the first boundary, nothing after the last one. */
export function readMultipart(contentType: string | null, body: Uint8Array): Part[] {
  const boundary = /^multipart\/byteranges; boundary=([\w'()+,\-./:=?]{1,70})$/.exec(contentType ?? '')?.[1]
  assert.ok(boundary !== undefined, `${contentType} has no boundary`)
  const text = `\r\n${Buffer.from(body).toString('latin1')}`
  const [before, ...pieces] = text.split(`\r\n--${boundary}`)
  assert.equal(before, '')
  assert.equal(pieces.pop(), '--\r\n')
  return pieces.map((piece) => {
    const end = piece.indexOf('\r\n\r\n')
    assert.ok(piece.startsWith('\r\n') && end >= 0, 'a part has no head')
    const headers = new Headers(
      piece
        .slice(2, end)
        .split('\r\n')
        .map((line) => line.split(': ', 2) as [string, string]),
    )
    return {
      type: headers.get('content-type') ?? '',
      range: headers.get('content-range') ?? '',
      bytes: Buffer.from(piece.slice(end + 4), 'latin1'),
    }
  })
}
