import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { execute } from '../support/netns/commands.ts'

const BIN = fileURLToPath(new URL('../../bin/nabo', import.meta.url))

describe('nabo configure containerd and nabo restore containerd', () => {
  let root: string
  let certs: string

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nabo-cli-'))
    certs = join(root, 'certs.d')
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  const nabo = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    execute(BIN, args, { env: { ...process.env, ...env } })
  const configure = (...args: readonly string[]) => nabo(['configure', 'containerd', '--config-dir', certs, ...args])
  const restore = (...args: readonly string[]) => nabo(['restore', 'containerd', '--config-dir', certs, ...args])
  const hosts = (name: string) => readFile(join(certs, name, 'hosts.toml'), 'utf8')

  it('says of each file what became of it', async () => {
    const first = await configure('--registries', 'docker.io,ghcr.io')
    assert.equal(first.code, 0)
    assert.deepEqual(first.stdout.split('\n').slice(0, 2), [
      `${certs}/docker.io/hosts.toml: created`,
      `${certs}/ghcr.io/hosts.toml: created`,
    ])
    assert.match(first.stdout, /without a restart.*nabo doctor/)
    assert.match((await configure()).stdout, /docker.io\/hosts.toml: unchanged\n/)
    assert.match((await configure('--resolve-tags=false')).stdout, /docker.io\/hosts.toml: changed\n/)
    assert.match((await configure('--resolve-tags')).stdout, /docker.io\/hosts.toml: changed\n/)
    assert.match((await configure('--resolve-tags', 'false')).stdout, /docker.io\/hosts.toml: changed\n/)
    assert.match((await restore()).stdout, /docker.io\/hosts.toml: removed\n.*ghcr.io\/hosts.toml: removed\n/)
    assert.match((await restore()).stdout, /^nothing of Nabo is in /)
    await assert.rejects(stat(certs), { code: 'ENOENT' })
  })

  it('keeps the default port in the name of a directory: containerd looks for the host as images name it', async () => {
    await configure('--registries', 'GHCR.io:443,ghcr.io')
    assert.match(await hosts('ghcr.io:443'), /7950/)
    assert.match((await restore('--registries', 'ghcr.io:443')).stdout, /ghcr\.io:443\/hosts\.toml: removed\n$/)
    assert.match(await hosts('ghcr.io'), /7950/)
  })

  it('says that containerd does not read the directory, and which line to add', async () => {
    const config = join(root, 'config.toml')
    const env = { NABO_STORE: 'containerd', NABO_CONTAINERD_CONFIG: config, NABO_CONTAINERD_SOCKET: join(root, 'none') }
    const write = ['configure', 'containerd', '--config-dir', certs]
    await writeFile(config, 'version = 2\n')
    const unread = await nabo(write, env)
    assert.equal(unread.code, 0)
    assert.match(
      unread.stdout,
      /\nBut config_path is not set in \S+\.\n {2}fix: in \S+: below .* config_path = "\S+certs\.d"/,
    )
    const section = '[plugins."io.containerd.grpc.v1.cri".registry]'
    await writeFile(config, `version = 2\n${section}\n  config_path = "${certs}"\n`)
    assert.match(
      (await nabo([...write, '--mode', 'replace'], env)).stdout,
      /\ncontainerd reads these files at every pull/,
    )
  })

  it('takes its flags from the environment too, where nothing is no value', async () => {
    const env = {
      NABO_CONFIG_DIR: certs,
      NABO_MIRROR_URL: 'http://127.0.0.1:1/',
      NABO_REGISTRIES: 'all',
      NABO_MODE: '',
      NABO_RESOLVE_TAGS: 'false',
      NABO_MIRROR_TOKEN_FILE: '',
    }
    assert.equal((await nabo(['configure', 'containerd'], env)).code, 0)
    assert.match(await hosts('_default'), /\[host\."http:\/\/127.0.0.1:1"\] # nabo\n {2}capabilities = \["pull"\]\n/)
    await configure('--registries', 'docker.io')
    // All, whatever the variable says of configure.
    assert.equal((await nabo(['restore', 'containerd'], { ...env, NABO_REGISTRIES: 'docker.io' })).code, 0)
    await assert.rejects(stat(certs), { code: 'ENOENT' })
  })

  it('takes a variable that says no for no, and any other for yes', async () => {
    for (const no of ['', '0', 'false', 'No', 'off']) {
      assert.equal((await nabo(['configure', 'containerd', '--config-dir', certs], { NABO_DRY_RUN: no })).code, 0)
      assert.match(await hosts('docker.io'), /127.0.0.1:7950/, no)
      await restore()
    }
    const { stdout } = await nabo(['configure', 'containerd', '--config-dir', certs], { NABO_DRY_RUN: '1' })
    assert.match(stdout, /would be created\n {2}\+ # nabo: begin [^]*\n {2}\+ # nabo: end\ncontainerd reads/)
    await assert.rejects(stat(certs), { code: 'ENOENT' })
  })

  it('ends with 1 and says why if a file is left alone, and does the others', async () => {
    await mkdir(join(certs, 'ghcr.io'), { recursive: true })
    await writeFile(join(certs, 'ghcr.io/hosts.toml'), 'server = "https://ghcr.io"\n[host\n')
    const { code, stdout, stderr } = await configure('--registries', 'ghcr.io,docker.io')
    assert.equal(code, 1)
    assert.match(stderr, /^nabo: .*ghcr.io\/hosts.toml is not valid TOML \(line [23], column \d+: .*\): left alone\n$/)
    assert.match(stdout, /docker.io\/hosts.toml: created\n/)
    assert.equal(await hosts('ghcr.io'), 'server = "https://ghcr.io"\n[host\n')
  })

  it('shows what it would write, but never a token', async () => {
    const token = join(root, 'token')
    await writeFile(token, 'not to be seen\n')
    await configure()
    const { stdout } = await configure('--mirror-token-file', token, '--dry-run')
    assert.match(stdout, /hosts.toml: would be changed\n/)
    assert.match(stdout, / {2}\+ {5}Nabo-Token = "…"\n/)
    assert.doesNotMatch(stdout, /not to be seen/)
    assert.doesNotMatch(await hosts('docker.io'), /Token/)
    await configure('--mirror-token-file', token)
    assert.match((await restore('--dry-run')).stdout, /would be removed\n[^]* - {5}Nabo-Token = "…"\n/)
    assert.match(await hosts('docker.io'), /Nabo-Token = "not to be seen"/)
  })

  it('refuses bad values with one sentence and 2, and a token that cannot be read with 1', async () => {
    const bad: readonly (readonly [string[], RegExp])[] = [
      [['--mirror-url', 'ftp://x'], /a URL such as http:\/\/127\.0\.0\.1:7950 is expected/],
      [['--mirror-url', 'http://user:secret@x'], /is expected/],
      [['--registries', '../x'], /"\.\.\/x" is not a registry/],
      [['--registries', 'none'], /nothing to do for none/],
      [['--mode', 'append'], /prepend or replace is expected/],
      [['--resolve-tags', 'no'], /true or false is expected/],
    ]
    for (const [args, what] of bad) {
      const { code, stderr } = await configure(...args)
      assert.equal(code, 2, stderr)
      assert.match(stderr, what)
      assert.doesNotMatch(stderr, /secret/)
    }
    const { code, stderr } = await configure('--mirror-token-file', join(root, 'none'))
    assert.equal(code, 1)
    assert.match(stderr, /^nabo: the mirror token file .* cannot be read: ENOENT\n$/)
  })
})
