import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import { MAX_LINK_HEADER, parseLinkHeader } from '../../src/oci/link-header.ts'

const NEXT = '</v2/app/tags/list?last=b>; rel="next"'

describe('a Link header', () => {
  it('is read as registries send it', () => {
    for (const [header, target, ...relations] of [
      [NEXT, '/v2/app/tags/list?last=b', 'next'],
      ['</v2/?a=1,2;b>;rel=next', '/v2/?a=1,2;b', 'next'],
      ['<https://r.example/v2/?n=1> ; REL = "Next"', 'https://r.example/v2/?n=1', 'next'],
      ['<a>; rel="prev  next"', 'a', 'prev', 'next'],
      ['<a>; title="to <b>; rel=\\"last\\", or more"; rel=next', 'a', 'next'],
      ['<a>; rel=next; rel=last', 'a', 'next'],
      ['<a>; hidden; rel="next"; title*=UTF-8\'\'x', 'a', 'next'],
      ['<a>; ; rel="next', 'a', 'next'],
      [', ,<a>; rel=next ,', 'a', 'next'],
      ['<>; rel=next', '', 'next'],
      ['<a>', 'a'],
      ['<a>; rel', 'a'],
    ] as const) {
      assert.deepEqual(parseLinkHeader(header), [{ target, relations }], header)
    }
  })

  it('may hold several links', () => {
    const header = '<a?x=<,>; title="<c>, <d>; rel=next"; rel=prev, <b>; rel="next", <e>'
    assert.deepEqual(parseLinkHeader(header), [
      { target: 'a?x=<,', relations: ['prev'] },
      { target: 'b', relations: ['next'] },
      { target: 'e', relations: [] },
    ])
  })

  it('is read up to the first malformed link', () => {
    for (const header of ['', 'nonsense', `nonsense ${NEXT}`, '<never closed; rel=next', '; rel=next', '>a<'])
      assert.deepEqual(parseLinkHeader(header), [], header)
    assert.deepEqual(parseLinkHeader(`<a>; rel="x" y, ${NEXT}`), [{ target: 'a', relations: ['x'] }])
  })

  it('is ignored when it is longer than a limit', () => {
    const padded = (length: number) => NEXT.replace('last=', `last=${'x'.repeat(length - NEXT.length)}`)
    assert.equal(parseLinkHeader(padded(MAX_LINK_HEADER)).length, 1)
    assert.deepEqual(parseLinkHeader(padded(MAX_LINK_HEADER + 1)), [])
    assert.deepEqual(parseLinkHeader('<'.repeat(60_000)), [])
    assert.deepEqual(parseLinkHeader(`${NEXT}, ${'<'.repeat(60_000)}`), [])
  })

  it('gives each of its characters to one link at most, whatever its content', () => {
    const piece = fc.constantFrom('<', '>', '"', '\\', ';', ',', '=', ' ', '\t', 'rel', '=next', '<a>', '; rel="', 'x')
    const pieces = fc.array(piece, { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(pieces, pieces, pieces, (before, repeated, after) => {
        const [start, pump, end] = [before, repeated, after].map((parts) => parts.join('')) as [string, string, string]
        const header = (start + pump.repeat(MAX_LINK_HEADER)).slice(0, MAX_LINK_HEADER - end.length) + end
        const said = parseLinkHeader(header).map(({ target, relations }) => `<${target}>${relations.join('')}`)
        assert.ok(said.join('').length <= header.length)
      }),
      { numRuns: 300 },
    )
  })
})
