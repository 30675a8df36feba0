import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'

import {
  DaemonJsonError,
  type DockerPart,
  mirrorsOf,
  withMirror,
  withoutMirror,
} from '../../../src/runtimes/docker/daemon-json.ts'

const NABO = 'http://127.0.0.1:7950'
const OTHER = 'http://127.0.0.1:8950'

function partOf(text: string, mirror = NABO): { text: string; part: DockerPart } {
  const { text: edited, part } = withMirror(text, mirror)
  assert.ok(part !== undefined)
  return { text: edited, part }
}

const blanks = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r\n'), maxLength: 3 })
const mirrors = fc.array(fc.constantFrom('https://a.example', 'http://b.example/', 'https:\\/\\/c.example', 'd\\"'), {
  maxLength: 3,
})
const values = fc.oneof(
  fc.constantFrom('true', '-1.5e3', '"]},"', '"\\""', '{"x": [1, {"y": null}]}', '[]', '{}'),
  mirrors.map((all) => `[${all.map((each) => `"${each}"`).join(',')}]`),
)
/** Objects in any layout, most with mirrors. */
const objects = fc
  .record({
    members: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('"debug"', '"a"', '"b"', '"registry\\u002dmirror"', '"insecure-registries"'),
        value: values,
        gaps: fc.array(blanks, { minLength: 4, maxLength: 4 }),
      }),
      { selector: ({ name }) => name, maxLength: 4 },
    ),
    mirrors: fc.option(fc.record({ all: mirrors, gap: blanks, at: fc.nat() }), { nil: undefined }),
    ends: fc.tuple(blanks, blanks, blanks),
  })
  .map(({ members, mirrors: listed, ends }) => {
    const parts = members.map(({ name, value, gaps: [a, b, c, d] }) => `${a}${name}${b}:${c}${value}${d}`)
    if (listed !== undefined) {
      const { all, gap, at } = listed
      const list = `[${gap}${all.map((each) => `"${each}"`).join(`${gap},${gap}`)}${gap}]`
      parts.splice(at % (parts.length + 1), 0, `${gap}"registry-mirrors":${gap}${list}`)
    }
    return `${ends[0]}{${parts.length === 0 ? ends[1] : parts.join(',')}}${ends[2]}`
  })
const texts = fc.oneof({ weight: 9, arbitrary: objects }, { weight: 1, arbitrary: blanks })

describe("a mirror in dockerd's daemon.json", () => {
  it('is put in front of the others, once, and taken out byte for byte, whatever the layout', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const { text: edited, part } = partOf(text)
        assert.deepEqual(mirrorsOf(edited), [NABO, ...mirrorsOf(text)])
        assert.deepEqual(withMirror(edited, NABO, part), { text: edited, part })
        assert.equal(withoutMirror(edited, part), text)
      }),
      { numRuns: 1000 },
    )
  })

  it('is replaced where it stands when it has another address, and is taken out byte for byte then as well', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const first = partOf(text)
        const { text: edited, part } = withMirror(first.text, OTHER, first.part)
        assert.equal(edited, first.text.replace(NABO, OTHER))
        assert.ok(part !== undefined)
        assert.equal(withoutMirror(edited, part), text)
        // In the middle of a change the record names both.
        const both = { ...part, mirrors: [OTHER, NABO] }
        for (const at of [first.text, edited]) assert.equal(withoutMirror(at, both), text)
        assert.equal(withMirror(first.text, OTHER, both).text, edited)
        assert.equal(withMirror(edited, NABO, both).text, first.text)
      }),
    )
  })

  it('is the only thing that is taken out after the file was edited by hand or by a program', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const { text: edited, part } = partOf(text)
        const value = JSON.parse(edited) as Record<string, unknown>
        const changed = { ...value, added: [NABO], 'registry-mirrors': ['https://new.example', ...mirrorsOf(edited)] }
        const restored = withoutMirror(JSON.stringify(changed, undefined, 3), part)
        const expected = { ...changed, 'registry-mirrors': ['https://new.example', ...mirrorsOf(text)] }
        assert.deepEqual(JSON.parse(restored), expected)
        const reformatted = withoutMirror(JSON.stringify(value), part)
        assert.deepEqual(JSON.parse(reformatted === '' ? '{}' : reformatted), JSON.parse(text.trim() || '{}'))
      }),
    )
  })

  it('goes with its list only if the list is Nabo’s and nothing else is in it', () => {
    const { text, part } = partOf('{"debug": true}')
    assert.equal(text, `{"debug": true, "registry-mirrors": ["${NABO}"]}`)
    const added = text.replace(']', ', "https://a.example"]')
    assert.equal(withoutMirror(added, part), '{"debug": true, "registry-mirrors": ["https://a.example"]}')
    const own = partOf('{"registry-mirrors": []}')
    assert.equal(withoutMirror(own.text.replace('[', '[ '), own.part), '{"registry-mirrors": [ ]}')
  })

  it('that a person has put in is not Nabo’s, with or without a slash at the end', () => {
    for (const mirror of [NABO, `${NABO}/`]) {
      const text = `{"registry-mirrors": ["https://a.example", "${mirror}"]}`
      assert.deepEqual(withMirror(text, NABO), { text })
    }
    // Also where Nabo had another one.
    const { text, part } = partOf('{"registry-mirrors": ["https://a.example"]}', OTHER)
    const added = text.replace(']', `, "${NABO}"]`)
    assert.deepEqual(withMirror(added, NABO, part), {
      text: `{"registry-mirrors": ["https://a.example", "${NABO}"]}`,
    })
  })

  it('is put in again after somebody has taken it out, wherever its list has gone', () => {
    const { part } = partOf('{}')
    assert.equal(withMirror('{"a": 1}', NABO, part).text, `{"a": 1, "registry-mirrors": ["${NABO}"]}`)
    assert.equal(withoutMirror('{"a": 1}', part), '{"a": 1}')
  })

  it('keeps the indentation and the line ends of the file', () => {
    assert.equal(
      withMirror('{\r\n\t"a": 1\r\n}\r\n', NABO).text,
      `{\r\n\t"a": 1,\r\n\t"registry-mirrors": ["${NABO}"]\r\n}\r\n`,
    )
    assert.equal(
      withMirror('{\n "registry-mirrors": [\n  "x"\n ]\n}', NABO).text,
      `{\n "registry-mirrors": [\n  "${NABO}",\n  "x"\n ]\n}`,
    )
    assert.equal(withMirror('', NABO).text, `{\n  "registry-mirrors": ["${NABO}"]\n}\n`)
  })

  it('goes into the last of two lists, which is the one that dockerd reads', () => {
    const text = '{"registry-mirrors": ["a"], "registry-mirrors": ["b"]}'
    const { text: edited, part } = partOf(text)
    assert.equal(edited, `{"registry-mirrors": ["a"], "registry-mirrors": ["${NABO}", "b"]}`)
    assert.equal(withoutMirror(edited, part), text)
  })

  it('leaves a file alone that is none, with words that do not repeat what is in it', () => {
    const broken: [string, RegExp][] = [
      ['{\n  "proxies": {"http-proxy": "http://u:secret@proxy"},\n}', /not valid JSON \(line 3\)/],
      ['{"debug": tru}', /not valid JSON \(line 1\)/],
      ['{\n"debug": true\n', /not valid JSON \(line 3\)/],
      ['secret', /not valid JSON \(line 1\)/],
      ['\uFEFF{}', /not valid JSON/],
      ['[]', /no JSON object/],
      ['{"registry-mirrors": "http://x"}', /not a list/],
      ['{"registry-mirrors": null}', /not a list/],
      ['{"registry-mirrors": [1]}', /not a list/],
    ]
    for (const [text, message] of broken) {
      assert.throws(
        () => withMirror(text, NABO),
        (error) => error instanceof DaemonJsonError && message.test(error.message) && !error.message.includes('secret'),
      )
    }
  })
})
