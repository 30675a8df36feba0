import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { digestAlgorithm, digestHex, digestOf, matchesDigest, parseDigest } from '../../src/oci/digest.ts'

const STRICT = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/
const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: length, maxLength: length })

describe('a digest', () => {
  it('is read if it is well formed, and only then', () => {
    const nearly = fc
      .tuple(fc.constantFrom('sha256', 'sha512', 'SHA256', 'md5', ''), fc.constantFrom(':', '', '::', '-'), fc.nat(140))
      .chain(([algorithm, separator, length]) => hex(length).map((text) => algorithm + separator + text))
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearly), (text) => {
        assert.equal(parseDigest(text), STRICT.test(text) ? text : undefined)
      }),
    )
  })

  it('is taken apart as it was put together', () => {
    fc.assert(
      fc.property(hex(64), hex(128), (short, long) => {
        for (const [algorithm, text] of [['sha256', short] as const, ['sha512', long] as const]) {
          const digest = parseDigest(`${algorithm}:${text}`)
          assert.ok(digest !== undefined)
          assert.equal(digestAlgorithm(digest), algorithm)
          assert.equal(digestHex(digest), text)
        }
      }),
    )
  })

  it('has nothing but lower-case hex', () => {
    const good = 'a'.repeat(64)
    for (const bad of [
      `sha256:${good.toUpperCase()}`,
      `sha256:${good}\n`,
      ` sha256:${good}`,
      `sha256:${good}0`,
      `sha256:../${good.slice(3)}`,
      `sha512:${good}`,
      `sha256:${'g'.repeat(64)}`,
    ]) {
      assert.equal(parseDigest(bad), undefined, bad)
    }
  })

  it('matches the bytes that it was made of and no others', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1 }),
        fc.nat(),
        fc.constantFrom('sha256' as const, 'sha512' as const),
        (bytes, at, algorithm) => {
          const digest = digestOf(bytes, algorithm)
          assert.equal(parseDigest(digest), digest)
          assert.ok(matchesDigest(bytes, digest))
          const changed = Uint8Array.from(bytes)
          changed[at % bytes.length] = (changed[at % bytes.length] ?? 0) ^ 1
          assert.ok(!matchesDigest(changed, digest))
        },
      ),
    )
    assert.equal(digestOf(new Uint8Array()), 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  })
})
