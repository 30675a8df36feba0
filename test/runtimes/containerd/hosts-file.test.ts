import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import * as fc from 'fast-check'
import { parse } from 'smol-toml'

import { type HostsSettings, withNabo, withoutNabo } from '../../../src/runtimes/containerd/hosts-file.ts'

const NABO = 'http://127.0.0.1:7950'
const SETTINGS: HostsSettings = { mirrorUrl: NABO, mode: 'prepend', resolveTags: true }

const edit = (text: string, settings: Partial<HostsSettings> = {}, otherwise = {}) =>
  withNabo(text, { ...SETTINGS, ...settings }, otherwise, {})
const hostsIn = (text: string) => Object.keys((parse(text.replace('\uFEFF', ''))['host'] ?? {}) as object)

describe("Nabo's part of a hosts.toml", () => {
  it('is all there is in a file that is new, with what holds without one', () => {
    assert.equal(
      withNabo('', SETTINGS, { server: 'https://registry-1.docker.io' }, { created: 1 }),
      `# nabo: begin lines=6 sum=686e7fb6 created=1
# Written by "nabo configure containerd"; "nabo restore containerd" takes it out again.
server = "https://registry-1.docker.io"

[host."http://127.0.0.1:7950"] # nabo
  capabilities = ["pull", "resolve"]
  dial_timeout = "200ms"
# nabo: end
`,
    )
  })

  it('comes after the settings of the registry and before all other hosts and the comment on the first', () => {
    const text = `# ours
server = "https://upstream.example"
ca = "ca.pem"

# the one in the cellar
[host."https://mirror.example"]
  capabilities = ["pull"]
  [host."https://mirror.example".header]
    x-key = "1"
`
    const edited = edit(text)
    assert.deepEqual(hostsIn(edited), [NABO, 'https://mirror.example'])
    assert.match(edited, /ca = "ca.pem"\n\n# nabo: begin[^]*# nabo: end\n# the one in the cellar\n/)
    assert.deepEqual({ ...parse(edited), host: undefined }, { ...parse(text), host: undefined })
    assert.equal(withoutNabo(edited).text, text)
  })

  it('sets nothing for the registry in a file in which somebody has set something', () => {
    assert.equal(parse(edit('ca = "x"\n', {}, { server: 'https://a' }))['server'], undefined)
    assert.equal(parse(edit('# nothing\n', {}, { server: 'https://a' }))['server'], 'https://a')
  })

  it('takes the other hosts out of use with replace, and gives them back line by line', () => {
    const text =
      'server = "https://a"\r\n[host."https://b"] # b\r\n  # why\r\n  ca = """\r\n\r\nx"""\r\n[host."https://c"]'
    const edited = edit(text, { mode: 'replace' })
    assert.deepEqual(hostsIn(edited), [NABO])
    assert.equal(withoutNabo(edited).text, text)
    assert.equal(edit(edited), edit(text))
    const byHand = edited.replace('  # why\r\n', '  # because\r\n').concat('\r\n[host."https://d"]\r\n')
    assert.equal(withoutNabo(byHand).text, `${text.replace('why', 'because')}\r\n[host."https://d"]\r\n`)
  })

  it('takes a section of the same address out of use: it would be there twice', () => {
    const text = `[host."${NABO}/"]\n  skip_verify = true\n[host."https://b"]\n`
    const edited = edit(text)
    assert.deepEqual(hostsIn(edited), [NABO, 'https://b'])
    assert.equal(withoutNabo(edited).text, text)
  })

  it('changes with the settings, and nothing else with it', () => {
    const text = '# a\nserver = "https://a" # b\n\n[host."https://c"]\n'
    const first = edit(text)
    const second = edit(first, { mirrorUrl: 'http://127.0.0.1:1', resolveTags: false, token: 'quo"te' })
    assert.deepEqual(hostsIn(second), ['http://127.0.0.1:1', 'https://c'])
    const own = (parse(second)['host'] as Record<string, unknown>)['http://127.0.0.1:1']
    assert.deepEqual(JSON.parse(JSON.stringify(own)), {
      capabilities: ['pull'],
      dial_timeout: '200ms',
      header: { 'Nabo-Token': 'quo"te' },
    })
    const outside = (edited: string) => edited.replace(/# nabo: begin[^]*# nabo: end\n/, '|')
    assert.equal(outside(second), outside(first))
    assert.equal(edit(second), first)
  })

  describe('edited by hand', () => {
    const text = 'server = "https://a"\n[host."https://b"]\n'

    it('is found wherever it was moved, and comes first again', () => {
      const [block = ''] = /# nabo: begin[^]*# nabo: end\n/.exec(edit(text)) ?? []
      const moved = `${text}${block}`
      assert.equal(withoutNabo(moved).text, text)
      assert.deepEqual(hostsIn(edit(moved)), [NABO, 'https://b'])
    })

    it('stays where somebody put a comment above or below it', () => {
      const commented = edit(text)
        .replace('# nabo: begin', '# next is Nabo\n# nabo: begin')
        .replace(/end\n/, 'end\n\n# b\n')
      assert.equal(edit(commented), commented)
      assert.equal(withoutNabo(commented).text, 'server = "https://a"\n# next is Nabo\n\n# b\n[host."https://b"]\n')
    })

    it('goes, and says that it was edited, but a section that somebody put inside stays', () => {
      const edited = edit(text)
        .replace('"resolve"', '"resolve", "push"')
        .replace('# nabo: end', '[host."https://mine"]\n  ca = "x"\n# nabo: end')
      const { text: restored, wasEdited } = withoutNabo(edited)
      assert.equal(restored, 'server = "https://a"\n[host."https://mine"]\n  ca = "x"\n[host."https://b"]\n')
      assert.ok(wasEdited)
      assert.equal(withoutNabo(edit(text)).wasEdited, false)
      assert.deepEqual(hostsIn(edit(edited)), [NABO, 'https://mine', 'https://b'])
    })

    it('is found without its last line if the rest is as it was, and else refused with the line', () => {
      const open = edit(text).replace('# nabo: end\n', '')
      assert.equal(withoutNabo(open).text, text)
      assert.throws(() => withoutNabo(open.replace('"resolve"', '')), /lacks the line "# nabo: end".* in line 2/)
    })

    it('leaves what stands before a last line whose first is gone', () => {
      const half = edit(text).replace(/# nabo: begin.*\n/, '')
      assert.equal(withoutNabo(half).text, half.replace('# nabo: end\n', ''))
    })

    it('is made anew when it is no TOML any more', () => {
      const broken = edit(text).replace('capabilities = [', 'capabilities = [[')
      assert.equal(edit(broken), edit(text))
    })

    it('loses only its line end to an editor that adds one to the last line', () => {
      assert.equal(withoutNabo(edit('ca = "x"')).text, 'ca = "x"')
      assert.equal(withoutNabo(`${edit('ca = "x"')}\n`).text, 'ca = "x"\n')
      assert.equal(withoutNabo(`${edit('ca = "x"')}\n[host."https://b"]`).text, 'ca = "x"\n[host."https://b"]')
    })

    it('is put back before a key that was written behind it and would have become part of it', () => {
      const appended = `${edit('ca = "x"\n')}server = "https://a"\n`
      assert.equal(parse(edit(appended))['server'], 'https://a')
    })
  })

  describe('is not added to', () => {
    const refused = (text: string, what: RegExp) => assert.throws(() => edit(text), what)

    it('a file that is not valid, whose line is named', () => {
      refused('server = "a"\n[host."b"\n', /^HostsFileError: is not valid TOML \(line 2, column/)
      const inside = edit('server = "a"\n[host."b"]\n').replace('[host."b"]', '[host."b"')
      refused(inside, new RegExp(`\\(line ${inside.split('\n').length - 1}, `))
    })

    it('hosts that are no sections', () => {
      refused('# x\nhost = { "https://b" = { ca = "x" } }\n', /sets "host" in line 2 in a form/)
      refused('host."https://b".ca = "x"\n', /sets "host" in line 1 in a form/)
      refused('[[host]]\nca = "x"\n', /not made of \[host\."…"\] sections/)
      refused('[host]\na = 1\n', /not made of \[host\."…"\] sections/)
    })
  })

  const hosts = fc.constantFrom('https://a.example', 'http://127.0.0.1:1', NABO, 'c.example')
  const value = fc.constantFrom(
    '"x"',
    "'#'",
    '["pull", "resolve"]',
    '[\n  # in\n  "a",\n]',
    '"""\n[host."no"]\n\n"""',
    'true',
  )
  const filler = fc.constantFrom('', '# a comment', '  # nabo is near', '\t')
  const key = fc.tuple(
    fc.uniqueArray(fc.constantFrom('capabilities', 'ca', 'client', 'skip_verify'), { maxLength: 3 }),
    value,
  )
  const keys = fc
    .tuple(key, fc.array(filler, { maxLength: 2 }))
    .map(([[names, text], more]) => [...more, ...names.map((name) => `${name} = ${text}`)])
  const section = fc
    .tuple(hosts, keys, fc.boolean(), fc.array(filler, { maxLength: 2 }))
    .map(([host, body, header, more]) => ({
      host,
      lines: [`[host."${host}"]`, ...body, ...more, ...(header ? [`[ host . '${host}' . "header" ]`, 'x = "1"'] : [])],
    }))
  const files = fc
    .record({
      bom: fc.constantFrom('', '\uFEFF'),
      eol: fc.constantFrom('\n', '\r\n'),
      last: fc.boolean(),
      top: keys,
      other: fc.constantFrom('', '[plugins.x]\ny = 1'),
      sections: fc.uniqueArray(section, { maxLength: 3, selector: ({ host }) => host }),
    })
    .map(({ bom, eol, last, top, other, sections }) => {
      const lines = [...top, ...(other === '' ? [] : [other]), ...sections.flatMap(({ lines }) => lines)]
      return `${bom}${lines.join('\n').replaceAll('\n', eol)}${last ? eol : ''}`
    })
  const settings = fc.record({
    mirrorUrl: fc.constantFrom(NABO, 'http://127.0.0.1:1'),
    mode: fc.constantFrom('prepend' as const, 'replace' as const),
    resolveTags: fc.boolean(),
    token: fc.constantFrom('secret', 'x"\\'),
  })

  it('goes in first, twice is once, and comes out without a trace, in any file', () => {
    const otherwise = { server: 'https://o', host: { 'https://a.example': { ca: ['x', 'y'] }, [NABO]: {} } }
    fc.assert(
      fc.property(files, settings, settings, (text, one, two) => {
        const edited = withNabo(text, one, otherwise, { created: 1, mode: 0o640 })
        assert.equal(hostsIn(edited)[0], one.mirrorUrl)
        if (one.mode === 'replace') assert.equal(hostsIn(edited).length, 1)
        assert.equal(withNabo(edited, one, otherwise, { created: 1, mode: 0o640 }), edited)
        assert.deepEqual(withoutNabo(edited).notes, { created: 1, mode: 0o640 })
        assert.equal(withoutNabo(edited).text, text)
        assert.equal(withNabo(edited, two, otherwise, {}), withNabo(text, two, otherwise, {}))
      }),
      { numRuns: 2000 },
    )
  })
})
