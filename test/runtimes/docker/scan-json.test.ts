import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { invalidLine } from '../../../src/runtimes/docker/scan-json.ts'

describe('the line in which a text stops being JSON', () => {
  it('is that of the first character that does not belong there', () => {
    for (const [text, line] of [
      ['{}', undefined],
      ['', 1],
      ['{"a": 1,\n"b": [1, 2,\n]}', 3],
      ['{"a": 01}', 1],
      ['{\n"a" 1}', 2],
      ['{} \n x', 2],
      ['"\u0001"', 1],
      [String.raw`"\x"`, 1],
    ] as const)
      assert.equal(invalidLine(text), line, text)
  })

  it('is missing exactly where JSON.parse accepts the text', () => {
    const whole = '{"a": [1, -2.5e3, "x\\n\\u00e4", true, null, {}, []],\n "b": {"c": "d"}}'
    const isValid = (text: string) => {
      try {
        JSON.parse(text)
        return true
      } catch {
        return false
      }
    }
    const changed = Array.from({ length: whole.length }, (_, at) => at).flatMap((at) => [
      whole.slice(0, at),
      whole.slice(0, at) + whole.slice(at + 1),
      ...['"', ',', '0', ' ', '}', '\\'].map((put) => whole.slice(0, at) + put + whole.slice(at)),
    ])
    for (const text of [whole, ...changed]) assert.equal(invalidLine(text) === undefined, isValid(text), text)
  })
})
