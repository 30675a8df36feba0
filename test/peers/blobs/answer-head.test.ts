import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { AnswerHeadError, parseAnswerHead } from '../../../src/peers/blobs/answer-head.ts'

const parse = (...lines: string[]) => parseAnswerHead(lines.join('\r\n'))

describe('the head of an answer', () => {
  it('has a status, headers by names in small letters, and the length of its body', () => {
    const head = parse('HTTP/1.1 206 Partial Content', 'Content-Length: 12', 'ETag:"x" ', 'a: 1', 'A: 2', 'empty:')
    assert.equal(head.status, 206)
    assert.equal(head.length, 12)
    assert.equal(head.keepsAlive, true)
    assert.deepEqual(Object.fromEntries(head.headers), { 'content-length': '12', etag: '"x"', a: '1, 2', empty: '' })
    assert.equal(parse('HTTP/1.1 200', 'content-length: 0').length, 0)
  })

  it('may have long values', () => {
    const value = `a${' '.repeat(32_000)}b`
    assert.equal(parse('HTTP/1.1 200 OK', `x: \t${value}\t `).headers.get('x'), value)
  })

  it('says when a connection cannot be used again', () => {
    for (const lines of [
      ['HTTP/1.0 200 OK', 'content-length: 1'],
      ['HTTP/1.1 200 OK', 'content-length: 1', 'Connection: Close'],
      ['HTTP/1.1 200 OK', 'content-length: 1', 'connection: x, close'],
      ['HTTP/1.1 200 OK'],
      ['HTTP/1.1 200 OK', 'transfer-encoding: chunked'],
    ]) {
      assert.equal(parse(...lines).keepsAlive, false, lines.join('; '))
    }
    assert.equal(parse('HTTP/1.1 204 No Content').keepsAlive, true)
  })

  it('does not guess where a body ends', () => {
    assert.equal(parse('HTTP/1.1 200 OK').length, undefined)
    assert.equal(parse('HTTP/1.1 200 OK', 'content-length: 5', 'transfer-encoding: chunked').length, undefined)
    assert.equal(parse('HTTP/1.1 304 Not Modified', 'content-length: 5').length, 0)
    for (const length of ['', '-1', '1.5', '0x10', '5, 5', '5, 6', '9'.repeat(16)]) {
      assert.throws(() => parse('HTTP/1.1 200 OK', `content-length: ${length}`), AnswerHeadError, length)
    }
  })

  it('is refused when it is not one', () => {
    for (const lines of [
      [''],
      ['SSH-2.0-OpenSSH_9.2'],
      ['HTTP/2 200'],
      ['HTTP/1.1 2000 OK'],
      ['HTTP/1.1 100 Continue'],
      ['HTTP/1.1 200 OK', 'no colon'],
      ['HTTP/1.1 200 OK', ' folded: line'],
      ['HTTP/1.1 200 OK', 'a : b'],
      ['HTTP/1.1 200 OK', 'a: b\nc: d'],
      ['HTTP/1.1 200 OK', 'a: b\0'],
      ['HTTP/1.1 200 OK', 'a: \u00fc'],
      // As long as a head may be, and what a careless pattern would try in every way.
      ['HTTP/1.1 200 OK', `a:${' '.repeat(32_000)}\n`],
    ]) {
      assert.throws(() => parse(...lines), AnswerHeadError, lines.join('; '))
    }
  })
})
