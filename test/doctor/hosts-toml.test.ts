import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { ContainerdLook } from '../../src/store/containerd/running-containerd.ts'
import { examine } from '../support/doctor.ts'

const NABO = '[host."http://127.0.0.1:7950"]\ncapabilities = ["pull", "resolve"]\n'
const OTHER = '[host."https://mirror.example"]\ncapabilities = ["pull", "resolve"]\n'

function containerd(version: string): ContainerdLook {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const unsaid = { patch: 0, contentRoot: undefined, startedAt: undefined, configFile: undefined }
  return { state: 'answers', version, major, minor, ...unsaid, cri: { state: 'hidden' } }
}

describe('the doctor at hosts.toml files', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nabo-hosts-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const look = async (
    files: Record<string, string>,
    flags: readonly string[] = [],
    options: { version?: string; isContained?: boolean; isMounted?: boolean } = {},
  ) => {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(directory, name)), { recursive: true })
      await writeFile(join(directory, name), text)
    }
    const { version = '1.7.24', isContained = false } = options
    const findings = await examine(['--config-dir', directory, ...flags], {
      checks: ['hosts-toml'],
      isContained,
      sources: {
        containerd: async () => containerd(version),
        daemon: async () => ({ state: 'absent' }),
        isMounted: async () => options.isMounted === true,
      },
    })
    const finding = findings.get('hosts-toml')
    assert.ok(finding)
    return finding
  }

  it('is content with Nabo in front, in one file or in the default', async () => {
    assert.equal(
      (await look({ 'docker.io/hosts.toml': NABO + OTHER })).says,
      'containerd asks Nabo first for docker.io',
    )
    assert.equal((await look({ '_default/hosts.toml': NABO })).says, 'containerd asks Nabo first for every registry')
  })

  it('knows Nabo by any name of this machine', async () => {
    for (const url of ['http://localhost:7950', 'http://127.0.0.1:7950/', 'http://[::1]:7950']) {
      const text = `[host."${url}"]\ncapabilities = ["pull"]\n`
      assert.equal((await look({ 'docker.io/hosts.toml': text })).level, 'ok', url)
    }
  })

  it('says what is wrong, and where', async () => {
    const host = '[host."http://127.0.0.1:7950"]\n'
    for (const [text, level, says, fix] of [
      ['[host.\n', 'error', /containerd ignores .*docker\.io\/hosts\.toml: line 1/, /put .* right/],
      [
        `${host}capabilities = ["pull", "find"]\n`,
        'error',
        /containerd ignores .* the capability "find"/,
        /put .* right/,
      ],
      [`${host}capabilities = "pull"\n`, 'error', /containerd ignores .*host\..*capabilities/, /put .* right/],
      [
        OTHER,
        'error',
        /no hosts\.toml in .* sends containerd to Nabo/,
        /^nabo configure containerd --config-dir .* --mirror-url http:\/\/127\.0\.0\.1:7950$/,
      ],
      [
        OTHER + NABO,
        'warning',
        /https:\/\/mirror\.example asked before Nabo/,
        /move \[host\."http:\/\/127\.0\.0\.1:7950"\] to the front/,
      ],
      [
        '[host."https://127.0.0.1:7950"]\n',
        'warning',
        /it speaks plain HTTP/,
        /write \[host\."http:\/\/127\.0\.0\.1:7950"\]/,
      ],
      [host, 'warning', /the capabilities pull, resolve, push/, /capabilities = \["pull", "resolve"\]/],
      [`${host}capabilities = ["resolve"]\n`, 'error', /sends containerd to Nabo/, /nabo configure/],
      [`${NABO}override_path = true\n`, 'warning', /leaves \/v2 out/, /take override_path out/],
    ] as const) {
      const finding = await look({ 'docker.io/hosts.toml': text })
      assert.equal(finding.level, level, `${text}: ${finding.says}`)
      assert.match(finding.says, says)
      assert.match(finding.fix ?? '', fix)
    }
  })

  it('knows what containerd 1.6 refuses', async () => {
    const files = { 'docker.io/hosts.toml': 'server = "https://registry-1.docker.io"\n' }
    const old = await look(files, [], { version: '1.6.20' })
    assert.match(old.says, /containerd 1\.6 refuses .* no \[host\]/)
    assert.match((await look(files)).says, /sends containerd to Nabo/)
  })

  it('knows what containerd 2 takes no hosts of', async () => {
    for (const [text, says] of [
      [`\uFEFF${NABO}`, /containerd ignores .*docker\.io\/hosts\.toml: it begins with a byte order mark/],
      ['host."http://127.0.0.1:7950".capabilities = ["pull"]\n', /not written as \[host\."…"\] sections/],
      ['host = { "http://127.0.0.1:7950" = { capabilities = ["pull"] } }\n', /not written as \[host\."…"\] sections/],
    ] as const) {
      const files = { 'docker.io/hosts.toml': text }
      const finding = await look(files, [], { version: '2.1.9' })
      assert.equal(finding.level, 'error', text)
      assert.match(finding.says, says)
      assert.equal((await look(files)).level, 'ok', text)
    }
    assert.equal((await look({ 'docker.io/hosts.toml': NABO }, [], { version: '2.1.9' })).level, 'ok')
  })

  it('sees a directory that keeps a registry from the default', async () => {
    const finding = await look({ '_default/hosts.toml': NABO, 'ghcr.io/ca.crt': '' })
    assert.equal(finding.level, 'warning')
    assert.match(finding.says, /ghcr\.io has no hosts\.toml: ghcr\.io goes past Nabo/)
  })

  it('looks for each registry that is mirrored by name', async () => {
    const flags = ['--registries', 'docker.io,quay.io,registry.example:5000']
    const files = { 'docker.io/hosts.toml': NABO, 'registry.example_5000_/hosts.toml': NABO }
    const some = await look(files, flags)
    assert.equal(some.level, 'warning')
    assert.match(some.says, /sends containerd to Nabo for quay\.io$/)
    assert.equal((await look({ '_default/hosts.toml': NABO }, flags)).level, 'ok')
    await rm(directory, { recursive: true })
    await mkdir(directory)
    assert.equal((await look({}, flags)).level, 'error')
  })

  it('minds who can change a file', async () => {
    await look({ 'docker.io/hosts.toml': NABO })
    await chmod(join(directory, 'docker.io/hosts.toml'), 0o666)
    const finding = await look({})
    assert.equal(finding.level, 'warning')
    assert.match(finding.fix ?? '', /^chmod o-w /)
  })

  it('compares the token of the mirror, and shows none', async () => {
    const file = join(directory, 'token')
    await writeFile(file, 'the-right-token\n')
    const flags = ['--mirror-token-file', file]
    const header = (value: string) => `${NABO}[host."http://127.0.0.1:7950".header]\nNabo-Token = "${value}"\n`
    assert.equal((await look({ 'docker.io/hosts.toml': header('the-right-token') }, flags)).level, 'ok')
    for (const text of [NABO, header('the-wrong-token')]) {
      const finding = await look(
        { 'docker.io/hosts.toml': text, '_default/hosts.toml': header('the-right-token') },
        flags,
      )
      assert.equal(finding.level, 'warning')
      assert.doesNotMatch(JSON.stringify(finding), /the-(right|wrong)-token/)
    }
  })

  it('tells a directory that is not there from one that is not visible', async () => {
    const flags = ['--config-dir', join(directory, 'none')]
    assert.equal((await look({}, flags)).level, 'error')
    const hidden = await look({}, flags, { isContained: true })
    assert.equal(hidden.level, 'warning')
    assert.match(hidden.says, /is not visible from here: perhaps pulls do not go through Nabo$/)
    assert.equal((await look({}, flags, { isContained: true, isMounted: true })).level, 'error')
  })
})
