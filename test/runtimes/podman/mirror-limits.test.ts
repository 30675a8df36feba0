import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { mirrorUseIn } from '../../../src/runtimes/podman/mirror-limits.ts'

const NABO = '127.0.0.1:7950/docker.io'
const isNabo = (location: string) => location === NABO
const useIn = (...texts: string[]) =>
  mirrorUseIn(
    texts.map((text, at) => ({ path: `/${at}.conf`, text })),
    isNabo,
  )

describe('the limits of a mirror in registries.conf', () => {
  it('are those of the whole entry, with the line', () => {
    const text = `# first\n[[registry]]\nlocation = "docker.io"\nmirror-by-digest-only = true # theirs\n[[registry.mirror]]\nlocation = "${NABO}"\n`
    const setting = 'mirror-by-digest-only = true'
    const limit = { path: '/0.conf', line: 4, prefix: 'docker.io', setting, keepsAway: 'tags' }
    assert.deepEqual(useIn(text), { prefixes: ['docker.io'], limits: [limit] })
    assert.deepEqual(useIn(text.replace('true', 'false')), { prefixes: ['docker.io'], limits: [] })
  })

  it('are those of the mirror itself, and of no other one', () => {
    const other = '[[registry.mirror]]\nlocation = "a.example"\npull-from-mirror = "digest-only"\n'
    const own = `[[registry.mirror]]\npull-from-mirror = "VALUE"\nlocation = "${NABO}"\n`
    const head = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
    for (const [value, keepsAway] of [
      ['digest-only', 'tags'],
      ['tag-only', 'digests'],
      ['all', undefined],
    ] as const)
      for (const [text, line] of [
        [head + other + own, 8],
        [head + own + other, 5],
      ] as const) {
        const { limits } = useIn(text.replace('VALUE', value))
        const expected = keepsAway === undefined ? [] : [[keepsAway, line]]
        assert.deepEqual(
          limits.map((limit) => [limit.keepsAway, limit.line]),
          expected,
        )
      }
  })

  it('are found in inline tables, at the line of their list', () => {
    const text = `[[registry]]\nlocation = "docker.io"\nmirror = [\n  { location = "a.example" },\n  { location = "${NABO}", pull-from-mirror = "digest-only" },\n]\n`
    assert.deepEqual(
      useIn(text).limits.map(({ line, setting }) => [line, setting]),
      [[3, 'pull-from-mirror = "digest-only"']],
    )
  })

  it('do not count in an entry that a later file replaces, in one without the mirror, and in the first format', () => {
    const entry = (only: boolean, mirror: string) =>
      `[[registry]]\nlocation = "docker.io"\nmirror-by-digest-only = ${only}\n[[registry.mirror]]\nlocation = "${mirror}"\n`
    assert.deepEqual(useIn(entry(true, NABO), entry(false, NABO)), { prefixes: ['docker.io'], limits: [] })
    assert.deepEqual(useIn(entry(true, NABO), entry(true, 'a.example')), { prefixes: [], limits: [] })
    assert.deepEqual(useIn('[registries.search]\nregistries = ["docker.io"]\n', ''), { prefixes: [], limits: [] })
  })
})
