import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { compileGlob } from '../../src/oci/glob.ts'

/** By trying everything: exponential, and so for short texts. */
function matchesNaively(glob: string, text: string): boolean {
  if (glob === '') return text === ''
  const rest = glob.replace(/^\*+/, '')
  if (rest === glob) return text[0] === glob[0] && text !== '' && matchesNaively(glob.slice(1), text.slice(1))
  if (matchesNaively(rest, text)) return true
  const takes = text !== '' && (glob.startsWith('**') || text[0] !== '/')
  return takes && matchesNaively(glob, text.slice(1))
}

/** Counts the comparisons and searches in a text. */
function counted(text: string): { readonly text: string; readonly steps: () => number } {
  let steps = 0
  const count = (method: 'startsWith' | 'indexOf') => (part: string, at: number) => {
    steps += 1
    return method === 'startsWith' ? text.startsWith(part, at) : text.indexOf(part, at)
  }
  const like = { length: text.length, startsWith: count('startsWith'), indexOf: count('indexOf') }
  return { text: like as unknown as string, steps: () => steps }
}

describe('a glob', () => {
  it('has * for text within a part, and ** for any text', () => {
    for (const [glob, yes, no] of [
      ['', [''], ['a']],
      ['a', ['a'], ['', 'aa', 'b']],
      ['*', ['', 'a', 'abc'], ['/', 'a/b']],
      ['**', ['', 'a', 'a/b', '/'], []],
      ['a/*/c', ['a/b/c', 'a//c'], ['a/c', 'a/b/b/c']],
      ['a/**/c', ['a/b/c', 'a/b/b/c', 'a//c'], ['a/c']],
      ['*a*a', ['aa', 'aba', 'aaaa'], ['a', 'aab', 'a/a']],
      ['**/x*', ['a/x', 'a/b/xy', '/x'], ['x', 'a/x/y', 'a/b']],
    ] as const) {
      for (const text of yes) assert.ok(compileGlob(glob)(text), `${glob} ${text}`)
      for (const text of no) assert.ok(!compileGlob(glob)(text), `${glob} ${text}`)
    }
  })

  it('matches what it matches when everything is tried', () => {
    const globs = fc
      .string({ unit: fc.constantFrom('a', 'b', '/', '*', '**'), maxLength: 8 })
      .map((glob) => glob.replaceAll(/\*{3,}/g, '**'))
    const texts = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 8 })
    fc.assert(
      fc.property(globs, texts, (glob, text) => {
        assert.equal(compileGlob(glob)(text), matchesNaively(glob, text))
      }),
      { numRuns: 5000 },
    )
  })

  it('takes few steps for patterns that a regular expression takes hours for', () => {
    const length = 240
    for (const [glob, name] of [
      ['registry.example/**/**/**/**/**/*-ci', `registry.example/${'a/'.repeat(length / 2)}`],
      [`registry.example/${'**/'.repeat(8)}b`, `registry.example/${'a/'.repeat(length / 2)}`],
      [`${'**a'.repeat(8)}b`, 'a'.repeat(length)],
      [`${'*a'.repeat(8)}b`, 'a'.repeat(length)],
    ] as const) {
      const { text, steps } = counted(name)
      assert.equal(compileGlob(glob)(text), false)
      assert.ok(steps() <= glob.split(/\*+/).length * 2 * (name.length + 1), `${glob}: ${steps()}`)
    }
  })
})
